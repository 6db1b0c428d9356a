'use strict';
// node main.js COMMAND …: the example client at work. See README.md.

const fs = require('node:fs');
const { parseArgs } = require('node:util');
const entente = require('./entente.js');

const USAGE = `usage:
  node main.js push FILE.jsonl       push records, one JSON object of the contract's Record a line (--patience SECONDS)
  node main.js release REFERENCE…    put own records before members (--to XB,COORD) or a project (--to project:ID)
  node main.js follow                what the own member sees, from the cursor in --cursor-file on, until all is known
  node main.js library               practices and lessons (--language fr, --endorsed 2)
with
  --protos DIR                       the unpacked bundle of .proto files
  --address HOST:PORT --member XA    the own member's node
  --certificate F --key F --authorities F
  --purpose PURPOSE_… --case TEXT    why; needed by follow and library`;

const OPTIONS = {};
for (const name of ['protos', 'address', 'member', 'certificate', 'key', 'authorities', 'purpose', 'case', 'to', 'cursor-file', 'project', 'language', 'endorsed', 'patience']) {
  OPTIONS[name] = { type: 'string' };
}

function audiences(to) {
  if (!to) return [];
  if (to === 'all-future') return [{ all_members: { include_future: true } }];
  if (to.startsWith('project:')) return [{ project: { project_id: to.slice('project:'.length) } }];
  return [{ members: { members: to.split(',') } }];
}

function verdictText(verdict) {
  const reasons = (verdict.violations || []).map(v => ` ${v.field}: ${v.reason}`);
  return `${verdict.provider_reference} ${verdict.outcome}${reasons.join(';')}`;
}

async function push(client, options, files) {
  const record = client.contract.root.lookupType('entente.v1.Record');
  const items = function* () {
    for (const file of files) {
      for (const line of fs.readFileSync(file, 'utf8').split('\n')) {
        if (line.trim() !== '') yield { record: entente.fromJSON(record, JSON.parse(line)), audiences: audiences(options.to) };
      }
    }
  };
  let rejected = 0;
  for await (const verdict of entente.push(client, items(), Number(options.patience || 20) * 1000)) {
    console.log(verdictText(verdict));
    if (verdict.outcome === 'OUTCOME_REJECTED') rejected++;
  }
  return rejected > 0 ? 3 : 0;
}

async function release(client, options, references) {
  const response = await entente.unary(client.intake, 'release', { provider_references: references, audiences: audiences(options.to) });
  response.verdicts.forEach(verdict => console.log(`${verdictText(verdict)} ${verdict.release_state}`));
  return response.verdicts.some(verdict => verdict.outcome === 'OUTCOME_REJECTED') ? 3 : 0;
}

// The cursor is kept after what it stands for has been printed: after a crash the last lines come again, none is missed.
async function follow(client, options) {
  const file = options['cursor-file'];
  const request = { consultation: consultation(options), project_id: options.project, until_current: true };
  if (file && fs.existsSync(file)) request.cursor = fs.readFileSync(file);
  for await (const { items, cursor, current } of entente.follow(client, request)) {
    for (const item of items) {
      const what = item.withdrawal ? `withdrawn ${item.withdrawal.reason}` : Object.keys(item.record.body)[0];
      console.log(`${item.owner} ${item.id} ${what}`);
    }
    if (file && cursor.length > 0) {
      fs.writeFileSync(file + '.new', cursor, { flush: true, mode: 0o600 });
      fs.renameSync(file + '.new', file);
    }
    if (current) console.log('current');
  }
  return 0;
}

async function library(client, options) {
  const request = { consultation: consultation(options), languages: options.language ? [options.language] : [], endorsements: Number(options.endorsed || 0) };
  for await (const item of entente.list(client, request)) {
    const text = item.record.body.good_practice || item.record.body.lesson;
    console.log(`${item.owner} ${text.state} ${text.context.language} ${text.context.title}`);
  }
  return 0;
}

function consultation(options) {
  if (!options.purpose || !options.case) throw new Error('--purpose and --case are needed: nobody asks without a reason');
  return { purpose: options.purpose, case_reference: options.case };
}

async function main() {
  const { values: options, positionals: [command, ...rest] } = parseArgs({ options: OPTIONS, allowPositionals: true });
  const run = { push, release, follow, library }[command];
  const missing = ['protos', 'address', 'member', 'certificate', 'key', 'authorities'].filter(name => !options[name]);
  if (!run || missing.length > 0) {
    console.error(USAGE);
    return 2;
  }
  const client = entente.connect(entente.readContract(options.protos), options.address, options.member, options);
  try {
    return await run(client, options, rest);
  } finally {
    client.close();
  }
}

process.exitCode = 1; // until it is known better
main().then(code => { process.exitCode = code; }, error => {
  console.error(`error: ${error.details || error.message}`);
  process.exitCode = 1;
});
