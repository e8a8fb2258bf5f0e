// SPDX-License-Identifier: Apache-2.0
//
// What the programs beside have in common.

// --KEY VALUE, --input NAME=FILE as often as there are inputs, and behind -- a command.
export function parse(words) {
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

// Relative to the largest magnitude; the cosine of the angle; whether the largest are the same.
export function distance(ours, theirs) {
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
