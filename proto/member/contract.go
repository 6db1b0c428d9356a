package member

// Contract is the version of the contract that this program speaks. Nodes of this version and of the one before work
// together: an older peer is sent nothing that it would refuse, and what a newer one adds is kept as received.
//
//   - 1: the first.
//   - 2: grants of earlier streams, relayed pulls, revocation lists, export and import, permissions under H2, witnesses of audit
//     trails, disclosures told to owners, and the clearance of whoever asks.
const Contract = 2
