package member

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// The limits of a project's documents, as in the field rules of the contract.
const (
	maxProjectID    = 64
	maxProjectName  = 200
	maxProjectGroup = 1000
	maxCategories   = 64
	maxParticipants = 1024
	maxEndReason    = 1000
)

// Project is a verified chain of documents: what a project is about and who takes part now. It is immutable.
type Project struct {
	// ID names the project: 1 to 64 letters, digits, dots, hyphens and underscores, a letter or digit first.
	ID string
	// Name is for people.
	Name string
	// Lead signs all documents of the chain.
	Lead ID
	// Purpose is why the project processes data.
	Purpose ententev1.Purpose
	// Group describes the criminal group or phenomenon it is about.
	Group string
	// CrimeAreas are those it covers.
	CrimeAreas []ententev1.CrimeArea
	// DataCategories are the kinds of record that may be shared in it; empty means all.
	DataCategories []ententev1.RecordKind
	// Participants are the members in it now, sorted: those that the chain has in and that are in good standing in the
	// roster.
	Participants []ID
	// StartsAt and EndsAt bound it: from StartsAt, until before EndsAt.
	StartsAt, EndsAt time.Time
	// Ended is true once the lead has ended it, whatever its dates.
	Ended bool
	// Number is that of the newest document.
	Number uint64
	// Head is SHA-256 of the body of the newest document.
	Head [32]byte

	hashes [][32]byte
	listed map[ID]bool
	ever   map[ID]bool   // the chain has, or had, it in
	leftAt map[ID]uint64 // number of the document by which it left last
}

// VerifyProject reads the whole chain of one project, in order, and checks it: numbers from 1 without gaps, each naming
// the hash of the one before, all signed by a verifying key of the lead, none after the end, no admission of one who is
// in nor departure of one who is not, the lead in to the last, every participant a member of the roster or a former one.
//
// Nothing ties a project's id to its lead but the chain itself: who holds a chain under this id already accepts another
// only if it Extends the held one.
func VerifyProject(docs []*ententev1.SignedDocument, roster *Roster) (*Project, error) {
	if len(docs) == 0 {
		return nil, errors.New("project: there is no document")
	}
	p := &Project{}
	for i, doc := range docs {
		err := p.append(doc, roster)
		if err != nil {
			return nil, fmt.Errorf("project document %d: %w", i+1, err)
		}
	}
	for id := range p.listed {
		if roster.Active(id) {
			p.Participants = append(p.Participants, id)
		}
	}
	slices.Sort(p.Participants)
	return p, nil
}

// Open says whether records may be shared in the project at that time: begun, not past its date, not ended, and with a
// lead in good standing, since without it nobody can decide who takes part.
func (p *Project) Open(now time.Time) bool {
	return !p.Ended && p.Has(p.Lead) && !now.Before(p.StartsAt) && now.Before(p.EndsAt)
}

// Has says whether a member takes part now.
func (p *Project) Has(id ID) bool {
	_, found := slices.BinarySearch(p.Participants, id)
	return found
}

// Ever says whether a member takes part, or once did: what it shared then is of the project, and so is what it takes back.
func (p *Project) Ever(id ID) bool { return p.ever[id] }

// Left says whether a member once took part and has left, or was removed, by the documents of the project. One that is only
// suspended in the roster has not left.
func (p *Project) Left(id ID) bool { return p.ever[id] && !p.listed[id] }

// ShownTo is how many documents of the chain, from the first on, a member may have: all for one that takes part; for one
// that has left, those up to its departure, so that its node learns of that and of nothing later; none for all others.
func (p *Project) ShownTo(id ID) uint64 {
	switch {
	case p.Has(id):
		return p.Number
	case p.Left(id):
		return p.leftAt[id]
	}
	return 0
}

// Takes says whether records of a kind may be shared in the project: the charter names the kinds, or none for all.
func (p *Project) Takes(kind ententev1.RecordKind) bool {
	return len(p.DataCategories) == 0 || slices.Contains(p.DataCategories, kind)
}

// Extends says whether p is the same chain as held, as long or longer.
func (p *Project) Extends(held *Project) bool {
	return p.Number >= held.Number && p.hashes[held.Number-1] == held.Head
}

// append verifies the next document of the chain and takes it over.
func (p *Project) append(doc *ententev1.SignedDocument, roster *Roster) error {
	body := &ententev1.ProjectDocument{}
	err := decode(doc, TypeProject, body)
	if err != nil {
		return err
	}
	err = p.checkLinks(body)
	if err != nil {
		return err
	}
	if p.Number == 0 {
		err = p.open(body, roster)
		if err != nil {
			return err
		}
	}
	signer, err := VerifyDocument(doc, TypeProject, roster.VerifyingKeys)
	if err != nil {
		return err
	}
	if signer != p.Lead {
		return fmt.Errorf("%w: %s signed it, not the lead %s", ErrBadSignature, signer, p.Lead)
	}
	err = p.apply(body, roster)
	if err != nil {
		return err
	}
	p.Number = body.GetNumber()
	p.Head = sha256.Sum256(doc.GetBody())
	p.hashes = append(p.hashes, p.Head)
	return nil
}

// checkLinks checks what ties a document to the chain so far.
func (p *Project) checkLinks(body *ententev1.ProjectDocument) error {
	if body.GetNumber() != p.Number+1 {
		return fmt.Errorf("it has number %d: documents are numbered from 1 without gaps", body.GetNumber())
	}
	err := checkTime("signed_at", body.GetSignedAt())
	if err != nil {
		return err
	}
	if p.Number == 0 {
		if len(body.GetPrevious()) != 0 {
			return errors.New("it is the first and names one before")
		}
		return checkProjectID(body.GetProjectId())
	}
	if body.GetProjectId() != p.ID {
		return errors.New("it is of another project")
	}
	if !bytes.Equal(body.GetPrevious(), p.Head[:]) {
		return errors.New("it does not follow the one before: the hash differs")
	}
	return nil
}

// checkProjectID keeps ids to what can stand in a file name, a log line and an address.
func checkProjectID(id string) error {
	if len(id) == 0 || len(id) > maxProjectID {
		return fmt.Errorf("the project id is missing or longer than %d characters", maxProjectID)
	}
	for i := range len(id) {
		c := id[i]
		plain := c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !plain && (i == 0 || c != '.' && c != '-' && c != '_') {
			return errors.New("the project id holds something other than letters, digits, dots, hyphens and underscores, " +
				"or does not begin with a letter or digit")
		}
	}
	return nil
}

// open takes over the charter.
func (p *Project) open(body *ententev1.ProjectDocument, roster *Roster) error {
	charter := body.GetCharter()
	if charter == nil {
		return errors.New("the first document is not a charter")
	}
	participants, err := readCharter(charter)
	if err != nil {
		return fmt.Errorf("charter: %w", err)
	}
	p.listed = make(map[ID]bool, len(participants))
	p.ever = make(map[ID]bool, len(participants))
	p.leftAt = map[ID]uint64{}
	for _, id := range participants {
		if !roster.known[id] {
			return fmt.Errorf("charter: its participant %s is not a member", id)
		}
		p.listed[id] = true
		p.ever[id] = true
	}
	p.ID = body.GetProjectId()
	p.Name = charter.GetName()
	p.Lead = ID(charter.GetLead())
	p.Purpose = charter.GetPurpose()
	p.Group = charter.GetGroup()
	p.CrimeAreas = charter.GetCrimeAreas()
	p.DataCategories = charter.GetDataCategories()
	p.StartsAt = charter.GetStartsAt().AsTime()
	p.EndsAt = charter.GetEndsAt().AsTime()
	return nil
}

// readCharter checks the content of a charter that needs no roster, and gives its participants. NewCharter goes through
// it too.
func readCharter(charter *ententev1.ProjectCharter) ([]ID, error) {
	lead, err := ParseID(charter.GetLead())
	if err != nil {
		return nil, fmt.Errorf("lead: %w", err)
	}
	err = checkCharterFields(charter)
	if err != nil {
		return nil, err
	}
	if n := len(charter.GetParticipants()); n == 0 || n > maxParticipants {
		return nil, fmt.Errorf("it has no participants or more than %d", maxParticipants)
	}
	participants := make([]ID, 0, len(charter.GetParticipants()))
	for i, name := range charter.GetParticipants() {
		id, err := ParseID(name)
		if err != nil {
			return nil, fmt.Errorf("participant %d: %w", i+1, err)
		}
		if i > 0 && id <= participants[i-1] {
			return nil, fmt.Errorf("its participants are not sorted, or %s stands there twice", id)
		}
		participants = append(participants, id)
	}
	if !slices.Contains(participants, lead) {
		return nil, fmt.Errorf("its lead %s is not a participant", lead)
	}
	return participants, nil
}

func checkCharterFields(charter *ententev1.ProjectCharter) error {
	if n := len(charter.GetName()); n == 0 || n > maxProjectName {
		return fmt.Errorf("its name is missing or longer than %d bytes", maxProjectName)
	}
	if len(charter.GetGroup()) > maxProjectGroup {
		return fmt.Errorf("the description of its group is longer than %d bytes", maxProjectGroup)
	}
	if charter.GetPurpose() == ententev1.Purpose_PURPOSE_UNSPECIFIED {
		return errors.New("its purpose is missing")
	}
	if len(charter.GetCrimeAreas()) > maxCategories || len(charter.GetDataCategories()) > maxCategories {
		return fmt.Errorf("it has more than %d crime areas or data categories", maxCategories)
	}
	err := checkTime("starts_at", charter.GetStartsAt())
	if err != nil {
		return err
	}
	err = checkTime("ends_at", charter.GetEndsAt())
	if err != nil {
		return err
	}
	if !charter.GetStartsAt().AsTime().Before(charter.GetEndsAt().AsTime()) {
		return errors.New("it ends before it starts")
	}
	return nil
}

// apply changes who takes part.
func (p *Project) apply(body *ententev1.ProjectDocument, roster *Roster) error {
	if p.Ended {
		return errors.New("the project has ended")
	}
	switch content := body.GetContent().(type) {
	case *ententev1.ProjectDocument_Charter:
		if p.Number > 0 {
			return errors.New("only the first document is a charter")
		}
		return nil
	case *ententev1.ProjectDocument_Admission:
		return p.admit(content.Admission, roster)
	case *ententev1.ProjectDocument_Departure:
		return p.depart(content.Departure, body.GetNumber())
	case *ententev1.ProjectDocument_End:
		if len(content.End.GetReason()) > maxEndReason {
			return fmt.Errorf("the reason of its end is longer than %d bytes", maxEndReason)
		}
		p.Ended = true
		return nil
	default:
		return errors.New("its content is missing or unknown to this version of the program")
	}
}

func (p *Project) admit(admission *ententev1.ProjectAdmission, roster *Roster) error {
	id, err := ParseID(admission.GetMember())
	if err != nil {
		return fmt.Errorf("admission: %w", err)
	}
	if !roster.known[id] {
		return fmt.Errorf("admission: %s is not a member", id)
	}
	if p.listed[id] {
		return fmt.Errorf("admission: %s is a participant already", id)
	}
	p.listed[id] = true
	p.ever[id] = true
	return nil
}

func (p *Project) depart(departure *ententev1.ProjectDeparture, number uint64) error {
	id, err := ParseID(departure.GetMember())
	if err != nil {
		return fmt.Errorf("departure: %w", err)
	}
	if id == p.Lead {
		return errors.New("departure: the lead stays in to the end")
	}
	if !p.listed[id] {
		return fmt.Errorf("departure: %s is not a participant", id)
	}
	delete(p.listed, id)
	p.leftAt[id] = number
	return nil
}
