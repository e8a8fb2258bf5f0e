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

// ONNX Runtime's threads spin for a moment after a run, and would do so through ours.
const kRestMs = 30;

function parse(words) {
  const options = {inputs: {}, command: []};
  for (let i = 0; i < words.length; ++i) {
    if (words[i] === '--') {
      options.command = words.slice(i + 1);
      return options;
    }
    const value = words[i + 1];
    if (words[i] === '--input') {
      const at = value.indexOf('=');
      options.inputs[value.slice(0, at)] = value.slice(at + 1);
    } else {
      options[words[i].slice(2)] = value;
    }
    ++i;
  }
  return options;
}

const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

// Relative to the largest magnitude; the cosine of the angle; whether the largest are the same.
function distance(ours, theirs) {
  let apart = 0, largest = 0, product = 0, ourSquares = 0, theirSquares = 0;
  for (let i = 0; i < theirs.length; ++i) {
    apart = Math.max(apart, Math.abs(ours[i] - theirs[i]));
    largest = Math.max(largest, Math.abs(theirs[i]));
    product += ours[i] * theirs[i];
    ourSquares += ours[i] ** 2;
    theirSquares += theirs[i] ** 2;
  }
  const top = (values) => values.indexOf(Math.max(...values));
  return {relative: apart / largest, cosine: product / Math.sqrt(ourSquares * theirSquares),
          same_class: top(ours) === top(theirs)};
}

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
for (let round = -2; round < Number(options.rounds); ++round) {  // two to warm up
  for (const [side, run] of [['theirs', theirs], ['ours', ours]]) {
    const ms = await run();
    if (round >= 0) times[side].push(ms);
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
