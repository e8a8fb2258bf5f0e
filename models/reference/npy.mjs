// SPDX-License-Identifier: Apache-2.0
//
// numpy's .npy files, little-endian, C order, format version 1, as what ONNX Runtime's tensors are made of:
// {type, data, dims}.
import fs from 'node:fs';

const kTypes = [
  {descr: '<f4', type: 'float32', array: Float32Array},
  {descr: '<i8', type: 'int64', array: BigInt64Array},
  {descr: '<i4', type: 'int32', array: Int32Array},
  {descr: '|u1', type: 'uint8', array: Uint8Array},
  {descr: '|i1', type: 'int8', array: Int8Array},
  {descr: '|b1', type: 'bool', array: Uint8Array},
  {descr: '<f8', type: 'float64', array: Float64Array},
];

export function readNpy(file) {
  const bytes = fs.readFileSync(file);
  if (bytes.toString('latin1', 0, 6) !== '\x93NUMPY' || bytes[6] !== 1) {
    throw new Error(`${file}: not npy version 1`);
  }
  const dataAt = 10 + bytes.readUInt16LE(8);
  const header = bytes.toString('latin1', 10, dataAt);
  const descr = /'descr': '([^']+)'/.exec(header)[1];
  const row = kTypes.find((t) => t.descr === descr);
  if (!row || header.includes("'fortran_order': True")) {
    throw new Error(`${file}: unsupported array ${header}`);
  }
  const dims = /'shape': \(([^)]*)\)/.exec(header)[1].match(/\d+/g)?.map(Number) ?? [];
  const data = bytes.buffer.slice(bytes.byteOffset + dataAt, bytes.byteOffset + bytes.length);
  return {type: row.type, data: new row.array(data), dims};
}

export function writeNpy(file, tensor) {
  const row = kTypes.find((t) => t.type === tensor.type);
  if (!row) throw new Error(`${file}: unsupported type ${tensor.type}`);
  const shape = tensor.dims.length === 1 ? `(${tensor.dims[0]},)` : `(${tensor.dims.join(', ')})`;
  let header = `{'descr': '${row.descr}', 'fortran_order': False, 'shape': ${shape}, }`;
  header = header.padEnd(Math.ceil((10 + header.length + 1) / 64) * 64 - 11) + '\n';
  const start = Buffer.from(`\x93NUMPY\x01\x00__${header}`, 'latin1');
  start.writeUInt16LE(header.length, 8);
  const {buffer, byteOffset, byteLength} = tensor.data;
  fs.writeFileSync(file, Buffer.concat([start, Buffer.from(buffer, byteOffset, byteLength)]));
}
