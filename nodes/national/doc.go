// Package national is one running node of a member: the store, the ledger, the puller and the server, wired together. The
// coordinator's node is the same with a merged view on top (package coordinator).
//
// # What it is for
//
// A site that runs a node from a configuration file:
//
//	cfg, err := national.LoadConfig("node.yaml", os.LookupEnv, nil)
//	err = national.Init(cfg, deps)           // once: keys and an empty data file
//	problems := national.Check(ctx, cfg, deps) // what would keep it from starting
//	material, err := national.Load(cfg, deps)
//	node, err := national.New(material, deps)
//	err = node.Run(ctx)                      // until ctx ends
//
// A test or a demonstration makes the Material itself and needs no key files.
//
// What may change while the node runs is asked for every two seconds (Documents): the roster, the chains of projects, the
// grants, the limits, the revocation lists, the signing key. Each is verified before it counts; what is refused is logged by
// its reason, and the last good one stays. Roster and revocation lists are also asked for at all other members' nodes every
// three seconds, and the chains of projects every thirty, so one reload at one place reaches everybody, also without the
// coordinator. What was accepted is kept in the data file, so a restart cannot be talked into an older roster, or into
// forgetting what is revoked. A change is held against what is open at once: calls of others (package server) and this
// node's own connections to others (replica.Connections).
//
// # The invariant
//
// A node runs only on what it has verified: its data file is of this member and this federation, its keys are those that
// the roster names, and the roster continues the one it had. After Run has ended nothing runs any more, and the marker of
// a clean stop is there only if everything acknowledged is on disk and the data file was closed in order.
//
// # What it does not do
//
// It holds no rule of its own about records, streams or readers (packages server and ledger do), signs no roster and no
// project document, and makes no certificate and no revocation list. It listens on one address and serves one member.
package national
