#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
//
// Do a network's answers through the daemon name the class that ONNX Runtime (CPU, float32) names?
//   node agreement.mjs --model M.onnx --inputs FOLDER --threads N -- INFER_LOOP ARGUMENTS...
// Every folder in FOLDER holds a NAME.npy for each input (models/make_inputs.py --count). Prints one line of JSON: how
// many inputs there were, for how many the class is the same, for how many of these the cosine of the first outputs is
// 0.999 or more, the smallest and the mean cosine, and the cosine of all first outputs one behind the other.
import {spawn} from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import {createInterface} from 'node:readline';
import ort from 'onnxruntime-node';
import {readNpy} from '../../models/reference/npy.mjs';
import {distance, parse} from './distance.mjs';

const options = parse(process.argv.slice(2));
const session = await ort.InferenceSession.create(options.model, {
  executionProviders: ['cpu'],
  graphOptimizationLevel: 'all',
  intraOpNumThreads: Number(options.threads),
});
const loop = spawn(options.command[0], options.command.slice(1), {stdio: ['pipe', 'pipe', 'inherit']});
const lines = createInterface({input: loop.stdout})[Symbol.asyncIterator]();

const folders = fs.readdirSync(options.inputs).map((name) => path.join(options.inputs, name));
const all = {ours: [], theirs: []};
const result = {inputs: folders.length, same_class: 0, close: 0, cosine: 1, mean_cosine: 0, relative: 0};
for (const folder of folders) {
  loop.stdin.write(`${folder}\n`);
  const {done} = await lines.next();
  if (done) throw new Error('infer-loop has ended');
  const feeds = Object.fromEntries(session.inputNames.map((name) => {
    const {type, data, dims} = readNpy(path.join(folder, `${name}.npy`));
    return [name, new ort.Tensor(type, data, dims)];
  }));
  const answer = await session.run(feeds);
  const values = ({data}) => Array.from(data, Number);
  const ours = values(readNpy(path.join(folder, 'answer.npy')));
  const theirs = values(answer[session.outputNames[0]]);
  const apart = distance(ours, theirs);
  all.ours.push(...ours);
  all.theirs.push(...theirs);
  result.same_class += apart.same_class ? 1 : 0;
  result.close += apart.same_class && apart.cosine >= 0.999 ? 1 : 0;
  result.mean_cosine += apart.cosine / folders.length;
  result.cosine = Math.min(result.cosine, apart.cosine);
  result.relative = Math.max(result.relative, apart.relative);
}
loop.stdin.end();
result.cosine_together = distance(all.ours, all.theirs).cosine;
console.log(JSON.stringify(result));
