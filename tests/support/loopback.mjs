// With `node --import loopback.mjs …` nothing of a program reaches another machine: connecting to anything but the
// loopback, and asking for any other name, fails before a packet is sent.
import dgram from 'node:dgram';
import dns from 'node:dns';
import { syncBuiltinESMExports } from 'node:module';
import net from 'node:net';

const local = (host) => host === undefined || host === null || host === 'localhost' || host === '::1' || /^127(\.\d+){3}$/.test(host);
const refuse = (host) => {
  const error = new Error(`loopback.mjs: ${host} is not on the loopback`);
  error.code = 'ENOTLOOPBACK';
  process.stderr.write(`${error.message}\n`);
  return error;
};

const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...args) {
  const [first, second] = Array.isArray(args[0]) ? args[0] : args;
  const path = typeof first === 'string' && !/^\d+$/.test(first);
  const host = typeof first === 'object' ? first.host : typeof second === 'string' ? second : undefined;
  if (!path && !local(host)) throw refuse(host);
  return connect.apply(this, args);
};

// Names are never asked for: that alone would leave the machine.
for (const [owner, wrap] of [
  [dns, (name, callback) => callback(refuse(name))],
  [dns.promises, (name) => Promise.reject(refuse(name))],
]) {
  for (const key of Object.keys(owner).filter((key) => /^(lookup|resolve|reverse)/.test(key))) {
    const ask = owner[key];
    if (typeof ask !== 'function') continue;
    owner[key] = (name, ...rest) => (key === 'lookup' && local(name) ? ask(name, ...rest) : wrap(name, rest.at(-1)));
  }
}
dgram.Socket.prototype.send = () => {
  throw refuse('a datagram');
};
syncBuiltinESMExports();
