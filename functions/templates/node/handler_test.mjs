// Run with: node --test handler_test.mjs
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { handle } from './handler.mjs';

test('greets whoever is named', () => {
  const records = [];
  const context = { log: { info: (...record) => records.push(record) } };
  assert.equal(handle({ text: 'Ada' }, context), 'Hello, Ada!');
  assert.deepEqual(records, [['greeting', { name: 'Ada' }]]);
});
