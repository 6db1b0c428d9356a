'use strict';
// A client of the own member's node, from the published .proto files alone: connect, push, release, follow, list.
// Nothing here knows Entente but by its contract and by docs/protocol.md.

const fs = require('node:fs');
const path = require('node:path');
const tls = require('node:tls');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');
const protobuf = require('protobufjs');

const MOST_ITEMS = 200;      // a message; the contract takes 1,000
const MOST_BYTES = 1 << 20;  // a message; the most of the contract
const IN_FLIGHT = 8;         // messages without an answer
const ATTEMPTS = 6;          // in a row, before the node counts as not reachable

// readContract reads the bundle of .proto files. Names stay those of the contract; 64-bit numbers are text and codes their
// names, as in the contract's JSON.
function readContract(folder) {
  const root = new protobuf.Root();
  // The field rules are for the node, which checks every record anyway. protobufjs cannot read that file, and needs none
  // of it: it takes the options of fields as they stand.
  root.resolvePath = (origin, target) => target.startsWith('buf/validate/') ? null : path.join(folder, target);
  const files = fs.readdirSync(path.join(folder, 'entente/v1')).filter(name => name.endsWith('.proto'));
  root.loadSync(files.map(name => 'entente/v1/' + name), { keepCase: true }).resolveAll();
  const definition = loader.fromJSON(root.toJSON(), { keepCase: true, longs: String, enums: String, oneofs: true });
  return { root, services: grpc.loadPackageDefinition(definition).entente.v1 };
}

// connect makes the one connection of a program. files are PEM: certificate and key of the caller, authorities of its member.
function connect(contract, address, member, files) {
  const node = `spiffe://${member.toLowerCase()}.entente/node`;
  const context = tls.createSecureContext({
    ca: fs.readFileSync(files.authorities), cert: fs.readFileSync(files.certificate), key: fs.readFileSync(files.key),
    minVersion: 'TLSv1.3',
    // A node takes no other kind of key exchange: what is recorded today must not be readable in twenty years. This line
    // fails where OpenSSL is older than 3.5, that is, before Node.js 22.20 and 24.5.
    ecdhCurve: 'X25519MLKEM768',
  });
  const credentials = grpc.credentials.createFromSecureContext(context, {
    // The chain was verified against the authorities. What remains is the name: a node's certificate names no host but the
    // member's node, so this takes the place of the comparison with the host name.
    checkServerIdentity: (host, certificate) => {
      const names = (certificate.subjectaltname || '').split(', ').filter(name => name.startsWith('URI:'));
      if (names.length === 1 && names[0] === 'URI:' + node) return undefined;
      return new Error(`the certificate is for ${names.join(' ') || 'nobody'}, not for ${node}`);
    },
  });
  const options = {
    'grpc.ssl_target_name_override': `${member.toLowerCase()}.entente`, // an address may be a number, which TLS does not send
    'grpc.max_receive_message_length': 16 << 20,
    // A connection that ends without a word is noticed by this alone. A node ends those that ask more often than each 30 s.
    'grpc.keepalive_time_ms': 31_000,
    'grpc.keepalive_timeout_ms': 5_000,
    'grpc.use_local_subchannel_pool': 1, // so that renew makes a new connection
    'grpc.enable_http_proxy': 0,
  };
  const { IntakeService, StreamService, LibraryService } = contract.services;
  // The timers of grpc-js do not keep a process alive: over a connection that has gone silently Node.js would see nothing
  // left to wait for, and end with code 0 in the middle of a push.
  const alive = setInterval(() => {}, 60_000);
  const client = {
    contract,
    renew() {
      if (client.intake) client.intake.close();
      client.intake = new IntakeService(address, credentials, options);
      const shared = { ...options, channelOverride: client.intake.getChannel() };
      client.stream = new StreamService(address, credentials, shared);
      client.library = new LibraryService(address, credentials, shared);
    },
    close() {
      clearInterval(alive);
      client.intake.close();
    },
  };
  client.renew();
  return client;
}

// permanent says whether trying again is of no use. A refused certificate comes as UNAVAILABLE, like a node that is down:
// only its text tells.
function permanent(error) {
  if (error.code === grpc.status.UNAVAILABLE) return /alert|certificate|self.signed|spiffe/i.test(error.details || '');
  return ![grpc.status.RESOURCE_EXHAUSTED, grpc.status.ABORTED].includes(error.code);
}

// pause waits before attempt n, longer each time.
function pause(n) {
  return new Promise(resolve => setTimeout(resolve, Math.min(100 * 2 ** n, 10_000) * (0.8 + 0.4 * Math.random())));
}

// unary makes one call and answers its response.
function unary(client, method, request, seconds = 30) {
  return new Promise((resolve, reject) => {
    client[method](request, { deadline: Date.now() + seconds * 1000 }, (error, response) => error ? reject(error) : resolve(response));
  });
}

// batches packs items into messages. An item is { record, audiences, replace_audiences } or { withdrawal }.
function* batches(contract, items) {
  const type = contract.root.lookupType('entente.v1.PushItem');
  let number = 0, batch = [], bytes = 0;
  for (const item of items) {
    const size = type.encode(type.fromObject(item)).finish().length + 4;
    if (size > MOST_BYTES) throw new Error('an item is over 1 MiB; no node takes a record over 256 KiB');
    if (batch.length === MOST_ITEMS || bytes + size > MOST_BYTES) {
      yield { batch: ++number, items: batch };
      batch = [], bytes = 0;
    }
    batch.push(item);
    bytes += size;
  }
  if (batch.length > 0) yield { batch: ++number, items: batch };
}

// push sends items and answers one verdict for each, in order. At most IN_FLIGHT messages are under way, so a source that
// is faster than the node is held back. Over a broken connection what has no verdict is sent again, which is harmless: the
// node knows it by its bytes and says DUPLICATE. A connection on which no answer comes for so many milliseconds is given up.
async function* push(client, items, patience = 20_000) {
  const source = batches(client.contract, items);
  let waiting = [], failures = 0, ended = false;
  for (;;) {
    const call = client.intake.push();
    let silent = false;
    const watchdog = setTimeout(() => { silent = true; call.cancel(); }, patience);
    // Errors come as events as well as from the loop below, which is where they are handled.
    call.on('error', () => {});
    const fill = () => {
      while (!ended && waiting.length < IN_FLIGHT) {
        const next = source.next();
        ended = next.done;
        if (ended) break;
        waiting.push(next.value);
        call.write(next.value);
      }
      if (ended && waiting.length === 0) call.end();
    };
    try {
      waiting.forEach(message => call.write(message));
      fill();
      for await (const response of call) {
        watchdog.refresh();
        const message = waiting.shift();
        if (String(message.batch) !== response.batch || message.items.length !== response.verdicts.length) {
          throw new Error(`the node answered message ${response.batch}, due is ${message.batch}`);
        }
        failures = 0;
        yield* response.verdicts;
        fill();
      }
      if (ended && waiting.length === 0) return;
    } catch (error) {
      if (++failures >= ATTEMPTS || !silent && (error.code === undefined || permanent(error))) throw error;
    } finally {
      clearTimeout(watchdog);
      call.cancel();
    }
    if (silent) client.renew();
    await pause(failures);
  }
}

// follow brings { items, cursor, current } from a cursor on, without a gap: after a break it goes on from the last one that
// was handed over. Keep the cursor once the items are processed. With until_current it ends when all that is known has come.
async function* follow(client, subscription) {
  let failures = 0;
  const request = { ...subscription };
  for (;;) {
    const call = client.stream.subscribe(request);
    call.on('error', () => {});
    try {
      for await (const response of call) {
        failures = 0;
        const items = (response.items || []).map(item => decodeItem(client.contract, item));
        yield { items, cursor: response.cursor, current: response.current };
        if (response.cursor && response.cursor.length > 0) request.cursor = response.cursor;
      }
      if (request.until_current) return;
    } catch (error) {
      if (error.code === undefined || permanent(error) || ++failures >= ATTEMPTS) throw error;
    } finally {
      call.cancel();
    }
    await pause(failures);
  }
}

// decodeItem opens the released record, which the contract carries as the bytes that its owner signed for.
function decodeItem(contract, item) {
  const { owner, record_id, withdrawal, released_record } = item;
  if (!released_record) return { owner, id: record_id.toString('hex'), withdrawal };
  const type = contract.root.lookupType('entente.v1.ReleasedRecord');
  const record = type.toObject(type.decode(released_record), { longs: String, enums: String });
  return { owner, id: record_id.toString('hex'), record };
}

// list goes through the library, page by page.
async function* list(client, request) {
  let page_token = Buffer.alloc(0);
  do {
    const page = await unary(client.library, 'list', { ...request, page_token });
    yield* page.items || [];
    page_token = page.next_page_token || Buffer.alloc(0);
  } while (page_token.length > 0);
}

// fromJSON turns the contract's JSON into what protobufjs takes: it knows neither dates as text nor durations.
function fromJSON(type, value) {
  if (type.fullName === '.google.protobuf.Timestamp') {
    const at = Date.parse(value);
    if (Number.isNaN(at)) throw new Error('a time is not in the form 2026-02-21T00:00:00Z');
    return { seconds: Math.floor(at / 1000), nanos: (at - Math.floor(at / 1000) * 1000) * 1e6 };
  }
  const out = {};
  for (const [name, held] of Object.entries(value)) {
    const field = type.fields[name];
    if (!field) throw new Error(`${type.name} has no field ${name}`);
    field.resolve();
    const nested = field.resolvedType instanceof protobuf.Type;
    if (field.repeated) out[name] = held.map(one => nested ? fromJSON(field.resolvedType, one) : one);
    else out[name] = nested ? fromJSON(field.resolvedType, held) : held;
  }
  return out;
}

module.exports = { readContract, connect, unary, push, follow, list, fromJSON, permanent };
