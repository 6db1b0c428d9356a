// Package format reads the files of a national system and turns their rows into what a node takes.
//
// A police system exports files in its own columns and codes: CSV, or JSON lines. A mapping, written once in YAML,
// says which column goes to which field of the contract, which national code means which value, who may have a row,
// and what a row that deletes looks like. ParseMapping reads it, Mapping.Open applies it to a file, Reader.Next gives
// the rows one by one. The mapping's language is described key by key in docs/examples/README.md, beside two complete
// mappings.
//
// A row becomes the items of one push: first its own record or withdrawal, then what the mapping derives from it,
// such as the role that stands in a column of a person's row. Derived records have the row's reference with a suffix,
// its version and its audiences, and are taken back with it.
//
// The invariant: every row of a file comes out exactly once, in the order of the file, either with items or with the
// reason why not. A bad row never stops the rows after it and never gives half its items. The reason names file,
// line and column, never a value, because a value may be a person's name and a reason ends up in logs.
//
// What it does not do: it opens no file and no connection, keeps no clock, and does not check the field rules of the
// contract (lengths, required fields): the node does, when the items are pushed. It refuses a mapping that cannot
// work (unknown keys, fields, codes) before any row is read, and it holds one row in memory at a time, with the
// references of the derived records of the file, so that a file may be of any length.
package format
