#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
//
// The same model, inputs and number of threads on ONNX Runtime (CPU, float32) and on the daemon, in turn:
//   node compare.mjs --model M.onnx --threads N --rounds N --input NAME=FILE.npy ... -- INFER_LOOP ARGUMENTS...
// INFER_LOOP infers once for every line that it gets (bench/infer_loop.cc) and leaves its answer in --answer FILE.npy.
// Prints one line of JSON: both medians in ms, their ratio, and how far apart the first outputs are.
import {spawn} from 'node:child_process';
import {createInterface} from 'node:readline';
import {setTimeout as rest} from 'node:timers/promises';
import ort from 'onnxruntime-node';
import {readNpy} from '../../models/reference/npy.mjs';
import {distance, parse} from './distance.mjs';

// ONNX Runtime's threads spin for a moment after a run, and would do so through ours: a rest between the sides. A turn is
// three runs, of which the first does not count: it finds the caches full of the other side's weights, and CPUs that slept.
const kRestMs = 100;
const kRunsOfATurn = 3;

const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

const options = parse(process.argv.slice(2));
const threads = Number(options.threads);
const session = await ort.InferenceSession.create(options.model, {
  executionProviders: ['cpu'],
  graphOptimizationLevel: 'all',
  intraOpNumThreads: threads,
  interOpNumThreads: 1,
});
const tensor = ({type, data, dims}) => new ort.Tensor(type, data, dims);
const feeds = Object.fromEntries(Object.entries(options.inputs).map(([k, file]) => [k, tensor(readNpy(file))]));

const loop = spawn(options.command[0], options.command.slice(1), {stdio: ['pipe', 'pipe', 'inherit']});
const lines = createInterface({input: loop.stdout})[Symbol.asyncIterator]();
const ended = new Promise((resolve) => loop.on('exit', resolve));

async function ours() {
  loop.stdin.write('\n');
  const {value, done} = await lines.next();
  if (done) throw new Error('infer-loop has ended');
  return Number(value);
}
let answer;
async function theirs() {
  const start = process.hrtime.bigint();
  answer = await session.run(feeds);
  return Number(process.hrtime.bigint() - start) / 1e6;
}

const times = {ours: [], theirs: []};
for (let round = -1; round < Number(options.rounds); ++round) {  // one to warm up
  for (const [side, run] of [['theirs', theirs], ['ours', ours]]) {
    for (let i = 0; i < kRunsOfATurn; ++i) {
      const ms = await run();
      if (round >= 0 && i > 0) times[side].push(ms);
    }
    await rest(kRestMs);
  }
}
loop.stdin.end();
await ended;
const values = ({data}) => Array.from(data, Number);
const reference = values(answer[session.outputNames[0]]);
const result = {ours_ms: median(times.ours), ort_ms: median(times.theirs)};
result.ratio = result.ours_ms / result.ort_ms;
Object.assign(result, distance(values(readNpy(options.answer)), reference));
console.log(JSON.stringify(result));
