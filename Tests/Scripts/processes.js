// Processes, clusters and threads as node makes them.
'use strict';
const assert = require('assert');
const cluster = require('cluster');
const fs = require('fs');
const net = require('net');
const path = require('path');
const { execFileSync, exec, fork, spawn, spawnSync } = require('child_process');
const { once } = require('events');
const { isMainThread, parentPort, Worker, threadId, workerData } = require('worker_threads');

async function main() {
  const shell = spawn('sh', ['-c', 'echo $$ $PPID']);
  const [text] = await once(shell.stdout, 'data');
  assert.strictEqual(String(text).trim(), `${shell.pid} ${process.pid}`);
  assert.deepStrictEqual(await once(shell, 'close'), [0, null]);
  assert.strictEqual(execFileSync('sh', ['-c', 'echo $PPID'], { encoding: 'utf8' }).trim(), `${process.pid}`);
  assert.strictEqual(spawnSync('sh', ['-c', 'kill -USR1 $$']).signal, 'SIGUSR1');
  const piped = await new Promise((done) => exec('seq 100 | tail -1', (error, out) => done(out)));
  assert.strictEqual(piped.trim(), '100');

  // By number: tested, signalled, with a time limit, and a whole group.
  const sleeper = spawn('sleep', ['60']);
  assert(process.kill(sleeper.pid, 0));
  process.kill(sleeper.pid, 'SIGTERM');
  assert.deepStrictEqual(await once(sleeper, 'exit'), [null, 'SIGTERM']);
  assert.throws(() => process.kill(sleeper.pid, 0), { code: 'ESRCH' });
  const limited = spawnSync('sleep', ['60'], { timeout: 100, killSignal: 'SIGKILL' });
  assert.strictEqual(limited.signal, 'SIGKILL');
  const group = spawn('sh', ['-c', 'sleep 60 & echo $!; wait'], { detached: true });
  const [inGroup] = await once(group.stdout, 'data');
  process.kill(-group.pid, 'SIGKILL');
  assert.deepStrictEqual(await once(group, 'exit'), [null, 'SIGKILL']);
  assert(Number(inGroup) !== group.pid);
  await until(() => isGone(Number(inGroup)));
  const aborted = new AbortController();
  const child = spawn('sleep', ['60'], { signal: aborted.signal });
  setTimeout(() => aborted.abort(), 20);
  await assert.rejects(once(child, 'exit'), { name: 'AbortError' });

  // A node of its own, which talks back.
  const forked = fork(__filename, ['forked']);
  const [hello] = await once(forked, 'message');
  assert.deepStrictEqual(hello, { pid: forked.pid, ppid: process.pid });
  forked.send('end');
  assert.deepStrictEqual(await once(forked, 'exit'), [7, null]);

  // Threads: of this process, with ids of their own.
  const workers = [1, 2, 3].map((n) => new Worker(__filename, { workerData: n }));
  const answers = await Promise.all(workers.map((worker) => once(worker, 'message')));
  assert.deepStrictEqual(answers.map(([answer]) => answer), [1, 2, 3].map((n) => ({ n, pid: process.pid })));
  await Promise.all(workers.map((worker) => worker.terminate()));

  // Signals to itself.
  const signalled = once(process, 'SIGUSR2');
  process.kill(process.pid, 'SIGUSR2');
  await signalled;

  await clustered();
}

// Two workers on one socket, one of which is killed and replaced.
async function clustered() {
  const directory = fs.mkdtempSync('/tmp/pod-script-');
  const socket = path.join(directory, 'socket');
  try {
    cluster.setupPrimary({ args: ['cluster', socket] });
    const workers = [cluster.fork(), cluster.fork()];
    await Promise.all(workers.map((worker) => once(worker, 'listening')));
    const pids = workers.map((worker) => worker.process.pid);
    const seen = new Set();
    for (let i = 0; i < 4; i++) seen.add(await ask(socket));
    assert.deepStrictEqual([...seen].sort(), pids.map(String).sort());
    workers[0].process.kill('SIGKILL');
    const [, signal] = await once(workers[0], 'exit');
    assert.strictEqual(signal, 'SIGKILL');
    const third = cluster.fork();
    await once(third, 'listening');
    const ends = [workers[1], third].map((worker) => once(worker, 'exit'));
    cluster.disconnect();
    await Promise.all(ends);
    for (const pid of [...pids, third.process.pid]) assert(isGone(pid));
  } finally {
    fs.rmSync(directory, { recursive: true, force: true });
  }
}

function isGone(pid) {
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return error.code === 'ESRCH';
  }
}

async function until(condition) {
  for (let i = 0; i < 1500 && !condition(); i++) await new Promise((done) => setTimeout(done, 20));
  assert(condition());
}

async function ask(socket) {
  const connection = net.connect(socket);
  const [answer] = await once(connection, 'data');
  connection.destroy();
  return String(answer);
}

if (!isMainThread) {
  parentPort.postMessage({ n: workerData, pid: process.pid });
  assert(threadId > 0);
  setInterval(() => {}, 1000);
} else if (process.argv[2] === 'forked') {
  process.send({ pid: process.pid, ppid: process.ppid });
  process.on('message', () => process.exit(7));
} else if (process.argv[2] === 'cluster') {
  net.createServer((connection) => connection.end(`${process.pid}`)).listen(process.argv[3]);
} else {
  main().catch((error) => {
    console.error(error);
    process.exit(1);
  });
}
