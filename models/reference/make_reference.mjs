#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
//
// Runs an ONNX file with ONNX Runtime (CPU, one thread, its graph optimisations on) and writes what
// it answers:
//   node make_reference.mjs MODEL.onnx --input NAME=FILE.npy ... --output NAME=FILE.npy ...
//     With --rows N the inputs are run in portions of N rows (first dimension), and the outputs are
//     put together again: 360 images through a model of batch 1.
//   node make_reference.mjs --cases FOLDER
//     Does the same for every FOLDER/*/case.json, {"inputs": {name: file}, "outputs": {...}}.
import fs from 'node:fs';
import path from 'node:path';
import ort from 'onnxruntime-node';
import {readNpy, writeNpy} from './npy.mjs';

const kOptions = {
  executionProviders: ['cpu'],
  graphOptimizationLevel: 'all',
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
};

const mapValues = (table, f) =>
    Object.fromEntries(Object.entries(table).map(([key, value]) => [key, f(value)]));

// The feeds of every portion: tensors of `rows` rows each, or whole if there is one portion.
function portions(inputs, rows) {
  const first = Object.values(inputs)[0];
  const count = rows && first.dims.length ? first.dims[0] / rows : 1;
  if (!Number.isInteger(count)) throw new Error(`${first.dims[0]} rows are no multiple of ${rows}`);
  return Array.from({length: count}, (_, i) => mapValues(inputs, (tensor) => {
    const size = tensor.data.length / count;
    const dims = count === 1 ? tensor.dims : [rows, ...tensor.dims.slice(1)];
    return new ort.Tensor(tensor.type, tensor.data.slice(i * size, (i + 1) * size), dims);
  }));
}

function concatenate(tensors) {
  if (tensors.length === 1) return tensors[0];
  const data = new tensors[0].data.constructor(tensors.reduce((sum, t) => sum + t.data.length, 0));
  let at = 0;
  for (const tensor of tensors) {
    data.set(tensor.data, at);
    at += tensor.data.length;
  }
  const dims = [tensors.reduce((sum, t) => sum + t.dims[0], 0), ...tensors[0].dims.slice(1)];
  return {type: tensors[0].type, data, dims};
}

async function run(model, inputs, outputs, rows) {
  const session = await ort.InferenceSession.create(model, kOptions);
  const feeds = mapValues(inputs, readNpy);
  const unknown = Object.keys(outputs).filter((name) => !session.outputNames.includes(name));
  if (unknown.length) {
    throw new Error(`${model} has no output ${unknown}; it has ${session.outputNames}`);
  }
  const results = [];
  for (const feed of portions(feeds, rows)) results.push(await session.run(feed));
  for (const [name, file] of Object.entries(outputs)) {
    writeNpy(file, concatenate(results.map((result) => result[name])));
  }
}

async function runCases(folder) {
  for (const name of fs.readdirSync(folder).sort()) {
    const at = (file) => path.join(folder, name, file);
    if (!fs.existsSync(at('case.json'))) continue;
    const description = JSON.parse(fs.readFileSync(at('case.json'), 'utf8'));
    try {
      const {inputs, outputs} = description;
      await run(at('model.onnx'), mapValues(inputs, at), mapValues(outputs, at), 0);
    } catch (error) {
      throw new Error(`${name}: ${error.message}`);
    }
  }
}

function pair(text) {
  const at = text.indexOf('=');
  if (at < 1) throw new Error(`'${text}' is not NAME=FILE.npy`);
  return [text.slice(0, at), text.slice(at + 1)];
}

async function main(args) {
  if (args[0] === '--cases' && args.length === 2) return runCases(args[1]);
  const [model, ...rest] = args;
  const inputs = {}, outputs = {};
  let rows = 0;
  for (let i = 0; i + 1 < rest.length; i += 2) {
    if (rest[i] === '--rows') {
      rows = Number(rest[i + 1]);
    } else if (rest[i] === '--input' || rest[i] === '--output') {
      const [name, file] = pair(rest[i + 1]);
      (rest[i] === '--input' ? inputs : outputs)[name] = file;
    } else {
      throw new Error(`unknown option ${rest[i]}`);
    }
  }
  if (!model || !Object.keys(inputs).length || !Object.keys(outputs).length) {
    throw new Error('usage: make_reference.mjs MODEL --input NAME=FILE ... --output NAME=FILE ... ' +
                    '[--rows N]\n   or: make_reference.mjs --cases FOLDER');
  }
  return run(model, inputs, outputs, rows);
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
