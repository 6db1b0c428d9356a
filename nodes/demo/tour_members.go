package demo

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"entente.example/entente/client/cli"
	"entente.example/entente/nodes/federation"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// Who joins.
const (
	joinerID        = "XE"
	joinerCountry   = "Estwall"
	joinerAuthority = "Estwall Border Police"
)

// trusting are the files against which a document is checked.
const trusting = " --roster @COORD/roster.pb --genesis @genesis.pb"

// joins admits XE by a quorum, shows what opens to it by itself, and grants it an earlier stream.
func (t *tour) joins(s *stage, _ *tally) error {
	t.say("%s (%s) wants to join. Before anybody signs, each owner can look at what the newcomer would read of it:", joinerCountry, joinerID)
	_, err := t.do(s, command{line: "stream preview XE --config @XA/system.yaml"})
	if err != nil {
		return err
	}
	at, err := t.admit(s)
	if err != nil {
		return err
	}
	err = s.until("what opens to "+joinerID+" by itself", func() (bool, error) { return s.opened() })
	if err != nil {
		return err
	}
	err = s.settle()
	if err != nil {
		return err
	}
	t.found.joinerBefore, err = s.heldOf(at)
	if err != nil {
		return err
	}
	t.say("Its node runs. It reads from its admission on; what was released for present and future members has opened to it by itself, " +
		"each opening signed by its owner. Of the rest there is nothing.")
	_, err = t.do(s, command{line: "practices list --config @XE/officer.yaml", most: 4})
	if err != nil {
		return err
	}
	_, err = t.do(s, command{line: "view entities --config @XE/officer.yaml", most: 3})
	if err != nil {
		return err
	}
	return t.grants(s, at)
}

// admit makes XE's keys, has three roots sign its admission, and starts its node.
func (t *tour) admit(s *stage) (*station, error) {
	seat := &federation.Seat{ID: joinerID, IDKey: federation.IDKey(joinerID)}
	listener, err := s.seat(seat)
	if err != nil {
		return nil, err
	}
	at := s.places[len(s.places)-1]
	err = listener.Close() // the node opens it again; its address is known now
	if err != nil {
		return nil, fmt.Errorf("free the address of %s: %w", joinerID, err)
	}
	t.say("XE makes its keys and says who it is; nobody else ever has them. XA, XB and XC sign its admission, each with the root of its own, and the " +
		"coordinator puts it into the next roster.")
	err = t.all(s, "pki root --out @XE/offline", "pki authority --member XE --out @XE/authority", "pki signing-key --out @XE",
		"pki issue --authority @XE/authority --identity node --out @XE",
		"roster entry --member XE --name "+joinerCountry+" --address "+seat.Addresses[0]+" --authority @XE/authority/authority.pem --signing-key @XE/signing-key.pub"+
			" --root @XE/offline/root.key --genesis @genesis.pb --out @XE/entry.pb",
		"roster change --kind admission --member XE --new-root @XE/offline/root.pub --out @admission.pb"+trusting,
		"roster sign @admission.pb --member XA --root @XA/offline/root.key"+trusting,
		"roster sign @admission.pb --member XB --root @XB/offline/root.key"+trusting,
		"roster sign @admission.pb --member XC --root @XC/offline/root.key"+trusting)
	if err != nil {
		return nil, err
	}
	_, err = t.do(s, command{line: "roster assemble --from @COORD/roster.pb --change @admission.pb --entry @XE/entry.pb --assembler COORD " +
		"--signing-key @COORD/signing-key.key --out @COORD/roster.pb --replace", once: true})
	if err != nil {
		return nil, err
	}
	return at, t.opens(s, at)
}

// all shows and runs commands that are done once, and nothing of what they print.
func (t *tour) all(s *stage, lines ...string) error {
	t.tight = true
	defer func() { t.tight = false; t.printf("\n") }()
	for _, line := range lines {
		_, err := t.do(s, command{line: line, quiet: true, once: true})
		if err != nil {
			return err
		}
	}
	return nil
}

// opens starts the node of XE, from the files that the commands made.
func (t *tour) opens(s *stage, at *station) error {
	folder := func(name string) string { return s.path(joinerID, name) }
	certificate, errCertificate := os.ReadFile(folder("authority/authority.pem"))
	key, errKey := os.ReadFile(folder("authority/authority.key"))
	roster, errRoster := os.ReadFile(s.path(CoordinatorID, rosterFile))
	err := errors.Join(errCertificate, errKey, errRoster)
	if err != nil {
		return fmt.Errorf("read the files of %s: %w", joinerID, err)
	}
	at.seat.Authority, err = member.LoadAuthority(certificate, key)
	if err != nil {
		return fmt.Errorf("authority of %s: %w", joinerID, err)
	}
	err = errors.Join(s.writeFiles(joinerID, map[string][]byte{rosterFile: roster}), s.writeNodeConfig(at))
	if err != nil {
		return err
	}
	err = t.all(s, "node init --config @XE/node.yaml")
	if err != nil {
		return err
	}
	err = s.restart(at)
	if err != nil {
		return err
	}
	return errors.Join(s.meet(at), s.news())
}

// opened says whether no owner has an opening to make, and each that was made has reached the newcomer.
func (s *stage) opened() (bool, error) {
	for _, at := range s.up() {
		status, err := s.status(at)
		if err != nil || len(status.GetPendingGrants()) > 0 {
			return false, err
		}
	}
	return s.replicated()
}

// heldOf counts the records of others that a member's people get now.
func (s *stage) heldOf(at *station) (int, error) {
	received, err := s.received(at.officer, "")
	if err != nil {
		return 0, fmt.Errorf("what %s has received: %w", at.seat.ID, err)
	}
	return len(received), nil
}

// grants opens XA's earlier stream for all members to the newcomer.
func (t *tour) grants(s *stage, at *station) error {
	request := &ententev1.PreviewReaderRequest{Consultation: consultation(nil), Member: joinerID}
	previews, err := s.at("XA").system.PreviewReader(s.ctx, request)
	if err != nil {
		return fmt.Errorf("preview what %s reads: %w", joinerID, err)
	}
	grant := ""
	for _, one := range previews {
		if one.GetOutcome() == ententev1.ReaderOutcome_READER_OUTCOME_ONLY_BY_GRANT && one.GetKind() == ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS {
			grant = fmt.Sprintf("stream grant %x --to %s --config @XA/system.yaml", one.GetStreamId(), joinerID)
		}
	}
	if grant == "" {
		return fmt.Errorf("there is no stream of XA to grant to %s", joinerID)
	}
	t.say("XA decides that XE may read the earlier stream for all members as well: a grant, signed by XA. Looked at first, then done:")
	_, err = t.do(s, command{line: grant + " --dry-run"})
	if err != nil {
		return err
	}
	_, err = t.do(s, command{line: grant, only: []string{"XE reads"}})
	if err != nil {
		return err
	}
	err = s.settle()
	if err != nil {
		return err
	}
	t.found.joinerAfter, err = s.heldOf(at)
	if err != nil {
		return err
	}
	view, err := at.officer.View(s.ctx, consultation(nil))
	if err != nil {
		return fmt.Errorf("view of %s: %w", joinerID, err)
	}
	t.found.joinerSees = len(view.Entities)
	_, err = t.do(s, command{line: "view entities --config @XE/officer.yaml", most: 5})
	return err
}

// leaves lets XC leave the project.
func (t *tour) leaves(s *stage, _ *tally) error {
	xc := s.at("XC")
	var err error
	t.found.leaverBefore, err = s.heldOf(xc)
	if err != nil {
		return err
	}
	follow := command{line: "follow --project " + ProjectID + " --until-current --config @XC/officer.yaml", most: 2, then: cli.ExitNotFound}
	t.say("XC leaves the project; the lead signs that. Until now its people read the project's streams:")
	_, err = t.do(s, follow)
	if err != nil {
		return err
	}
	_, err = t.do(s, command{line: "project depart @XA/projects/harbour-light.pb --member XC --signing-key @XA/signing-key.key" + trusting, most: 4, once: true})
	if err != nil {
		return err
	}
	err = s.news()
	if err != nil {
		return err
	}
	reference := projectReference()
	err = s.receipted(reference, "XC")
	if err != nil {
		return err
	}
	err = s.settle()
	if err != nil {
		return err
	}
	t.found.leaverAfter, err = s.heldOf(xc)
	if err != nil {
		return err
	}
	t.say("At once the project is not there for XC any more, in the same words as if it had never been. XC's node has erased what it held by it: "+
		"%d records of others, where it had %d; and it has signed for that, as the owners see. What XC had released to the "+
		"project itself is taken back as well. For those who stay, XA has opened another stream: their copies have only moved "+
		"(two lines a reader: the old entry, withdrawn, and the new one).", t.found.leaverAfter, t.found.leaverBefore)
	follow.code = cli.ExitNotFound
	_, err = t.do(s, follow)
	if err != nil {
		return err
	}
	_, err = t.do(s, command{line: "get " + reference + " --config @XA/system.yaml", only: []string{"READER", "COORD ", "XB ", "XC "}})
	return err
}

// receipted waits until a member has signed that it has erased a record of XA.
func (s *stage) receipted(reference, reader string) error {
	return s.until("the receipts of "+reader, func() (bool, error) {
		record, err := s.peek(s.at("XA"), reference)
		if err != nil {
			return false, err
		}
		waiting := slices.ContainsFunc(record.GetDeliveries(), func(d *ententev1.Delivery) bool {
			return d.GetMember() == reader && (!d.GetWithdrawn() || d.GetState() != ententev1.DeliveryState_DELIVERY_STATE_APPLIED)
		})
		return !waiting, nil
	})
}

// projectReference is a record that XA released to the project.
func projectReference() string {
	for _, item := range Case()[0].Steps[0].Items {
		if len(item.GetAudiences()) == 1 && item.GetAudiences()[0].GetProject() != nil && len(item.GetAudiences()[0].GetProject().GetWithout()) == 0 {
			return item.GetRecord().GetEnvelope().GetProviderReference()
		}
	}
	return ""
}
