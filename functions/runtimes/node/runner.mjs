// Runs one Apus function on Node: node /runtime/runner.mjs (the contract: functions/README.md).
// With APUS_WARM=1 it is a pod made ahead: it warms itself, waits on descriptor 6 for what it is, and then is that.
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { closeSync, existsSync, readSync, writeSync } from 'node:fs';
import { AsyncLocalStorage } from 'node:async_hooks';
import { pathToFileURL } from 'node:url';

const LISTENER = 3;
const FRAME_PIPE = 4;
const CONTROL_PIPE = 5;
const PAYLOAD_PIPE = 6;
const WARM_CALLS = 20;
const HEAD_BYTES = 64 * 1024;
const HEAD_MS = 30_000;
const STALL_MS = 60_000;
const LINE_BYTES = 64 * 1024; // a longer line is sent in parts
const DENSE_BYTES = 40 * 1024; // the same for text that JSON escapes sixfold
const FRAME_BYTES = 256 * 1024;
const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_MAX_BODY = 100 * 1024 * 1024;
const LAST_ANSWERS_MS = 100; // how long the last answer on a connection may take to leave

const env = process.env;
let concurrency = 1;
let maxBody = DEFAULT_MAX_BODY;
let warming = env.APUS_WARM === '1';
const calls = new AsyncLocalStorage();

// Frames

function sendFrame(frame) {
  let text = JSON.stringify(frame) + '\n';
  if (text.length * 3 > FRAME_BYTES && Buffer.byteLength(text) > FRAME_BYTES) {
    text = JSON.stringify({ ...frame, fields: { 'apus.truncated': true } }) + '\n';
  }
  const data = Buffer.from(text);
  let sent = warming ? data.length : 0;
  while (sent < data.length) {
    try {
      sent += writeSync(FRAME_PIPE, data, sent);
    } catch (error) {
      if (error.code === 'EAGAIN') continue;
      return; // nobody reads any more: the line is lost, the function goes on
    }
  }
}

/** Where a part of a long line ends: between characters. */
function partEnd(data, limit) {
  let end = limit;
  while (end > limit - 4 && end < data.length && (data[end] & 0xc0) === 0x80) end -= 1;
  return end;
}

/** The output of one call: cuts what is written into lines and sends each with the call's id. */
class CallOutput {
  constructor(call) {
    this.call = call || undefined;
    this.pending = { stdout: '', stderr: '' };
    this.part = { stdout: 0, stderr: 0 };
  }

  write(stream, text) {
    const lines = (this.pending[stream] + text).split('\n');
    let rest = lines.pop();
    for (const line of lines) this.#line(stream, line, true);
    if (rest.length >= LINE_BYTES) rest = this.#line(stream, rest, false);
    this.pending[stream] = rest;
  }

  #line(stream, line, complete) {
    if (complete && line.endsWith('\r')) line = line.slice(0, -1);
    if (line.length * 3 >= DENSE_BYTES) {
      let data = Buffer.from(line);
      while (data.length > LINE_BYTES || (!complete && data.length === LINE_BYTES)) {
        let end = partEnd(data, LINE_BYTES);
        if (JSON.stringify(data.toString('utf8', 0, end)).length > FRAME_BYTES / 2) end = partEnd(data, DENSE_BYTES);
        this.part[stream] += 1;
        sendFrame({ call: this.call, stream, line: data.toString('utf8', 0, end), part: this.part[stream] });
        data = data.subarray(end);
      }
      line = data.toString('utf8');
    }
    if (!complete) return line;
    const frame = { call: this.call, stream, line };
    if (this.part[stream] > 0) frame.part = this.part[stream] + 1;
    this.part[stream] = 0;
    sendFrame(frame);
    return '';
  }

  flush() {
    for (const stream of ['stdout', 'stderr']) {
      const rest = this.pending[stream];
      if (rest === '' && this.part[stream] === 0) continue;
      this.pending[stream] = '';
      this.#line(stream, rest, true);
    }
  }

  record(level, msg, fields) {
    const frame = { call: this.call, stream: 'stderr', level, msg: String(msg).slice(0, 16 * 1024) };
    if (fields !== undefined && fields !== null && Object.keys(fields).length > 0) {
      try {
        frame.fields = JSON.parse(JSON.stringify(fields));
      } catch {
        frame.fields = Object.fromEntries(Object.entries(fields).map(([k, v]) => [k, String(v).slice(0, 1024)]));
      }
    }
    sendFrame(frame);
  }
}

/** Gives console.* and process.stdout.write to the call that runs; lazily, because the streams cost a cold start. */
function capture(name) {
  const property = Object.getOwnPropertyDescriptor(process, name);
  let captured;
  Object.defineProperty(process, name, {
    configurable: true,
    enumerable: true,
    get() {
      if (captured) return captured;
      captured = property.get.call(process);
      const plain = captured.write.bind(captured);
      captured.write = (chunk, encoding, done) => {
        const output = calls.getStore();
        if (output === undefined) return plain(chunk, encoding, done);
        const text = typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('utf8');
        output.write(name, text);
        const callback = typeof encoding === 'function' ? encoding : done;
        if (typeof callback === 'function') process.nextTick(callback);
        return true;
      };
      return captured;
    },
  });
}

// What a handler sees

class Event {
  #query;

  constructor(request, body) {
    this.body = body;
    this.method = request.method;
    const mark = request.url.indexOf('?');
    this.path = mark < 0 ? request.url : request.url.slice(0, mark);
    this.rawQuery = mark < 0 ? '' : request.url.slice(mark + 1);
    this.headers = request.headers;
  }

  /** The body as text: UTF-8, a byte that is none becomes U+FFFD. */
  get text() {
    return this.body.toString('utf8');
  }

  /** The body as JSON; throws SyntaxError if it is none. */
  json() {
    return JSON.parse(this.text);
  }

  /** The query, decoded; of a repeated name the first value. */
  get query() {
    if (this.#query === undefined) {
      this.#query = Object.create(null);
      for (const [name, value] of new URLSearchParams(this.rawQuery)) this.#query[name] ??= value;
    }
    return this.#query;
  }
}

class Response {
  constructor(status, headers, body) {
    this.status = status;
    this.headers = headers ?? {};
    this.body = body;
  }
}

class Context {
  #abort = new AbortController();

  constructor(request, output) {
    this.callId = this.call_id = output.call ?? '';
    const deadline = request.headers['x-apus-deadline'] ?? '';
    this.deadline = /^\d{1,15}$/.test(deadline) ? Number(deadline) : Date.now() + DEFAULT_TIMEOUT_MS;
    this.function = env.APUS_FUNCTION ?? '';
    this.revision = env.APUS_REVISION ?? '';
    this.namespace = env.APUS_NAMESPACE ?? '';
    this.pod = env.APUS_POD ?? '';
    this.traceparent = request.headers.traceparent ?? '';
    this.log = {};
    for (const level of ['debug', 'info', 'warn', 'error']) {
      this.log[level] = (msg, fields) => output.record(level, msg, fields);
    }
  }

  /** Milliseconds until the deadline, never below 0. */
  remainingMs() {
    return Math.max(0, this.deadline - Date.now());
  }

  remaining_ms = () => this.remainingMs();

  /** True once the client has gone or the deadline has passed. */
  get cancelled() {
    return this.#abort.signal.aborted || this.remainingMs() === 0;
  }

  /** Aborted when the client goes: for fetch, streams and timers. */
  get signal() {
    return this.#abort.signal;
  }

  /** An answer with a status and headers. */
  response(status, headers, body) {
    return new Response(status, headers, body);
  }

  cancel() {
    this.#abort.abort();
  }
}

// Answers

const FRAMING = /^(connection|content-length|keep-alive|proxy-connection|te|trailer|transfer-encoding|upgrade)$/i;

/** {status, headers, body} of what a handler returned; body is a Buffer or an async iterable. */
function render(result) {
  const answer = { status: 200, headers: {}, body: result };
  if (result instanceof Response) {
    if (!Number.isInteger(result.status) || result.status < 200 || result.status > 599) {
      throw new TypeError(`status ${result.status}: a number from 200 to 599 is needed`);
    }
    answer.status = result.status;
    answer.body = result.body;
    for (const [name, value] of Object.entries(result.headers)) {
      if (!FRAMING.test(name)) answer.headers[name] = value;
    }
  }
  const body = answer.body;
  let type;
  if (typeof body === 'string') {
    type = 'text/plain; charset=utf-8';
    answer.body = Buffer.from(body);
  } else if (body === undefined || body === null) {
    answer.body = Buffer.alloc(0);
  } else if (body instanceof Uint8Array) {
    type = 'application/octet-stream';
    answer.body = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  } else if (typeof body === 'object' && typeof body[Symbol.asyncIterator] === 'function') {
    type = 'text/plain; charset=utf-8';
  } else if (typeof body === 'object' && typeof body.next === 'function') {
    type = 'text/plain; charset=utf-8';
  } else if (typeof body === 'object') {
    type = 'application/json';
    answer.body = Buffer.from(JSON.stringify(body));
  } else {
    throw new TypeError(
      `the handler returned a ${typeof body}; return a string, bytes, an object, nothing, context.response() or an async iterable`,
    );
  }
  if (type !== undefined && !Object.keys(answer.headers).some((name) => name.toLowerCase() === 'content-type')) {
    answer.headers['Content-Type'] = type;
  }
  return answer;
}

function refuse(response, status, code, message) {
  if (response.headersSent) return response.destroy();
  const body = JSON.stringify({ code, message, component: 'function' });
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(body),
    Connection: 'close',
  });
  return response.end(body);
}

/** What a thrown value says of itself. It is the handler's: telling may throw too. */
function described(error) {
  try {
    const isError = error instanceof Error;
    const kind = String((isError && (error.constructor?.name || error.name)) || typeof error);
    const text = String(isError ? error.message : error).slice(0, 1024);
    return { kind, text, traceback: String(isError ? error.stack : error).slice(0, 32 * 1024) };
  } catch {
    return { kind: typeof error, text: 'what was thrown cannot be shown', traceback: '' };
  }
}

/** Makes the stack of what was thrown one error record; what it was, and in one line. */
function record(output, error) {
  const { kind, text, traceback } = described(error);
  const message = text === '' ? kind : `${kind}: ${text}`;
  output.flush();
  output.record('error', message, { error: kind, traceback });
  return { kind, message };
}

/** Answers a call whose handler threw. */
function fail(response, output, error) {
  const { kind, message } = record(output, error);
  if (response.headersSent) return response.destroy(); // only a cut connection can say that a begun answer failed
  const body = JSON.stringify({ code: 'function_failed', message, component: 'function', call: output.call ?? '' });
  response.writeHead(500, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(body),
    'X-Function-Error': kind.replace(/[^\w.$-]/g, '') || 'Error',
    ...(draining ? { Connection: 'close' } : {}),
  });
  return response.end(body);
}

// Calls

let handler; // the user's function
let server;
let running = 0;
let draining = false;
const waiting = []; // FIFO of requests whose head is here
const open = new Set(); // the outputs of calls that run

class TooLarge extends Error {}
class Stalled extends Error {}

async function readBody(request, response) {
  if (Number(request.headers['content-length'] ?? 0) > maxBody) throw new TooLarge();
  if (request.expectsContinue) response.writeContinue();
  const pieces = [];
  let size = 0;
  const stalled = setTimeout(() => {
    refuse(response, 408, 'request_timeout', 'the body stopped arriving');
    setTimeout(() => request.destroy(new Stalled()), LAST_ANSWERS_MS);
  }, STALL_MS);
  try {
    for await (const piece of request) {
      size += piece.length;
      if (size > maxBody) throw new TooLarge();
      pieces.push(piece);
      stalled.refresh();
    }
  } finally {
    clearTimeout(stalled);
  }
  return pieces.length === 1 ? pieces[0] : Buffer.concat(pieces, size);
}

/** Runs steps one after another, each given up when a promise fails. That has one reaction for all of them: with a race for
 * each, a promise that never settles would keep what every step gave. */
function unless(failing) {
  let failure;
  let giveUp = () => {};
  failing.catch((error) => {
    failure = { error };
    giveUp(error);
  });
  return (step) =>
    new Promise((resolve, reject) => {
      if (failure) throw failure.error;
      giveUp = reject;
      Promise.resolve(step()).then(resolve, reject);
    });
}

async function stream(request, response, answer, context, crashed) {
  const iterator = answer.body[Symbol.asyncIterator]?.() ?? answer.body;
  const unlessCrashed = unless(crashed);
  const nextPiece = () => unlessCrashed(() => iterator.next());
  let piece = await nextPiece();
  response.writeHead(answer.status, answer.headers);
  response.flushHeaders();
  try {
    // Of such an answer nothing follows the head: who reads it has it whole, and may send the next request.
    if (request.method === 'HEAD' || answer.status === 204 || answer.status === 304) return response.end();
    while (!piece.done) {
      if (context.signal.aborted) return response.destroy();
      if (typeof piece.value !== 'string' && !(piece.value instanceof Uint8Array)) {
        throw new TypeError(`the stream gave a ${typeof piece.value}; give strings or bytes`);
      }
      if (piece.value.length > 0 && !response.write(piece.value)) await drained(response);
      piece = await nextPiece();
    }
  } finally {
    if (!piece.done) {
      // Also after a crash: what the stream holds is given back, whether or not anybody waits for it.
      const closed = Promise.resolve(iterator.return?.());
      closed.catch(() => {});
      await unlessCrashed(() => closed);
    }
  }
  return response.end();
}

/** Waits until more can be written, or nobody reads any more. */
function drained(response) {
  if (response.destroyed) return undefined;
  return new Promise((resolve) => {
    const done = () => {
      response.off('drain', done).off('close', done);
      resolve();
    };
    response.on('drain', done).on('close', done);
  });
}

async function call(request, response) {
  const output = new CallOutput(request.headers['x-call-id']);
  let body;
  try {
    body = await readBody(request, response);
  } catch (error) {
    if (error instanceof TooLarge) refuse(response, 413, 'body_too_large', `the body is larger than ${maxBody} bytes`);
    else if (!(error instanceof Stalled)) response.destroy();
    return;
  }
  const context = new Context(request, output);
  const gone = () => {
    if (!response.writableFinished) context.cancel();
  };
  request.socket.once('end', gone);
  response.once('close', gone);
  open.add(output);
  // What a callback throws, or a promise that nobody awaits, is the call's end: the handler may wait for it for ever.
  const crashed = new Promise((_, reject) => {
    output.crash = reject;
  });
  crashed.catch(() => {});
  await calls.run(output, async () => {
    try {
      const answer = render(await Promise.race([handler(new Event(request, body), context), crashed]));
      output.flush();
      if (!Buffer.isBuffer(answer.body)) return await stream(request, response, answer, context, crashed);
      if (answer.status !== 204 && answer.status !== 304) answer.headers['Content-Length'] = answer.body.length;
      if (draining) answer.headers.Connection = 'close';
      response.writeHead(answer.status, answer.headers);
      response.end(request.method === 'HEAD' ? undefined : answer.body);
    } catch (error) {
      fail(response, output, error);
    }
  });
  if (!response.writableFinished && !response.destroyed) {
    await new Promise((resolve) => response.once('close', resolve));
  }
  output.flush();
  request.socket?.off('end', gone);
  open.delete(output);
}

function next() {
  while (running < concurrency && waiting.length > 0) {
    const [request, response] = waiting.shift();
    if (request.socket === null || request.socket.destroyed) continue; // the client left while it waited
    running += 1;
    call(request, response).finally(() => {
      running -= 1;
      next();
      leaveIfDone();
    });
  }
}

/** What is wrong with a head that Node's parser lets through though it can be read in two ways; undefined if nothing. */
function doubtful(request) {
  let hosts = 0;
  for (let index = 0; index < request.rawHeaders.length; index += 2) {
    if (request.rawHeaders[index].length === 4 && request.rawHeaders[index].toLowerCase() === 'host') hosts += 1;
  }
  if (hosts > 1) return [400, 'there is more than one Host'];
  if (request.httpVersionMajor !== 1) return [505, 'HTTP/1.1 and 1.0 are spoken here'];
  const coding = request.headers['transfer-encoding'];
  if (coding !== undefined) {
    if (request.httpVersionMinor === 0) return [400, 'HTTP/1.0 knows no Transfer-Encoding'];
    if (coding.toLowerCase() !== 'chunked') return [501, `Transfer-Encoding ${coding}: only chunked is understood`];
  }
  return undefined;
}

function accept(request, response) {
  response.sendDate = false; // the gateway's business
  const wrong = doubtful(request);
  if (wrong !== undefined) return refuse(response, wrong[0], 'bad_request', wrong[1]);
  waiting.push([request, response]);
  return next();
}

function leaveIfDone() {
  if (draining && running === 0 && waiting.length === 0) process.exit(0);
}

function terminate() {
  draining = true;
  server.close();
  server.closeIdleConnections();
  leaveIfDone();
}

// Start

async function load() {
  const spec = env.APUS_HANDLER || ['handler.mjs', 'handler.js', 'handler.cjs'].find(existsSync) || 'handler.mjs';
  const [file, name = 'handle'] = spec.split(':');
  const path = `${process.cwd()}/${file}`;
  if (!existsSync(path)) throw new Error(`handler '${spec}': there is no file ${file} in the package`);
  const module = await import(pathToFileURL(path).href);
  const found = module[name] ?? module.default?.[name] ?? (name === 'handle' && typeof module.default === 'function' ? module.default : undefined);
  if (typeof found !== 'function') throw new Error(`handler '${spec}': ${file} exports no function ${name}(event, context)`);
  return found;
}

/** What nobody caught fails the call it came from, or all that run if that cannot be told; the pod goes on. */
function crash(error) {
  const own = calls.getStore();
  if (own !== undefined && !open.has(own)) return record(own, error); // that call has ended
  if (own === undefined && open.size === 0) return writeSync(2, `${described(error).traceback}\n`);
  for (const output of own === undefined ? open : [own]) output.crash(error);
  return undefined;
}

/** The server of the pod's socket; not yet listening. */
function makeServer() {
  const server = createServer(
    {
      maxHeaderSize: HEAD_BYTES,
      headersTimeout: HEAD_MS,
      requestTimeout: 0,
      keepAliveTimeout: 0,
      insecureHTTPParser: false,
      requireHostHeader: true,
    },
    accept,
  );
  server.timeout = 0;
  server.httpAllowHalfOpen = true; // a half closed connection cancels its call; it is still answered, then closed
  server.on('checkContinue', (request, response) => {
    request.expectsContinue = true;
    accept(request, response);
  });
  server.on('checkExpectation', (_, response) => refuse(response, 417, 'bad_request', 'only 100-continue is expected'));
  server.on('clientError', (error, socket) => {
    if (!socket.writable) return socket.destroy();
    const [status, code] = error.code === 'HPE_HEADER_OVERFLOW'
      ? ['431 Request Header Fields Too Large', 'head_too_large']
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? ['408 Request Timeout', 'request_timeout']
        : ['400 Bad Request', 'bad_request'];
    const body = JSON.stringify({ code, message: error.message, component: 'function' });
    return socket.end(
      `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
    );
  });
  return server;
}

// Waiting

/** Answers a few calls of its own, over a socket of the pod's own network namespace, so that nothing is compiled later. */
async function warmUp() {
  ({ handle: handler } = await import('./warm.mjs'));
  const server = makeServer();
  await new Promise((resolve) => server.listen('\0apus-warm', resolve));
  const client = connect('\0apus-warm');
  const body = '{"greeting":"hello"}';
  for (let count = 0; count < WARM_CALLS; count += 1) {
    const length = count % 2 === 0 ? body.length : 0;
    client.write(
      `POST /warm?count=${count} HTTP/1.1\r\nHost: warm\r\nX-Call-Id: warm-${count}\r\nContent-Length: ${length}\r\n\r\n${body.slice(0, length)}`,
    );
    await new Promise((resolve) => client.once('data', resolve));
  }
  client.destroy();
  await new Promise((resolve) => server.close(resolve));
}

/** Waits until the pod is told what it is; the environment comes as `NAME=value` and NUL for each variable. */
function becomeFunction() {
  const readAll = (length) => {
    const data = Buffer.alloc(length);
    for (let done = 0; done < length; ) {
      const count = readSync(PAYLOAD_PIPE, data, done, length - done, null);
      if (count === 0) process.exit(0);
      done += count;
    }
    return data;
  };
  const variables = readAll(readAll(4).readUInt32LE()).toString().split('\0');
  closeSync(PAYLOAD_PIPE);
  for (const name of Object.keys(env)) delete env[name];
  for (const variable of variables) {
    const equals = variable.indexOf('=');
    if (equals > 0) env[variable.slice(0, equals)] = variable.slice(equals + 1);
  }
  process.chdir('/function');
}

for (const name of ['stdout', 'stderr']) capture(name);
if (warming) {
  await warmUp();
  writeSync(CONTROL_PIPE, 'w');
  becomeFunction();
  warming = false;
}
concurrency = Math.max(1, Number.parseInt(env.APUS_CONCURRENCY, 10) || 1);
maxBody = Number.parseInt(env.APUS_MAX_BODY, 10) || DEFAULT_MAX_BODY;
process.on('SIGINT', () => {});
try {
  handler = await load();
} catch (error) {
  writeSync(2, `${error instanceof Error ? (error.message.startsWith("handler '") ? error.message : error.stack) : error}\n`);
  process.exit(1);
}
process.on('uncaughtException', crash);
process.on('unhandledRejection', crash);
process.on('SIGTERM', terminate);
server = makeServer();
server.on('error', (error) => {
  writeSync(2, `the runner needs a listening unix socket on descriptor 3: ${error.message}\n`);
  process.exit(1);
});
// The byte says that the handler is loaded; the socket was listening before this process began.
try {
  writeSync(CONTROL_PIPE, '1');
} catch {} // nobody waits for it
// A burst of connections waits in the socket, as many as the gateway sends.
server.listen({ fd: LISTENER, backlog: 1024 });
