package demo

import (
	"strings"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// audience is how far a record of the case goes. They are ordered: each reaches some of the readers of the one before
// it, so the greater of two is the one that both allow.
type audience int

const (
	toAll     audience = iota // all members
	toProject                 // the whole project
	toSome                    // the project less one participant
	toOne                     // one named member, and the coordinator for its merge
	atHome                    // nobody
)

// partners says for each member whom toSome leaves out and whom toOne names; XD is in no project.
func partners(member string) (without, named string) {
	switch member {
	case "XA":
		return "XC", "XB"
	case "XB":
		return "XC", "XA"
	case "XC":
		return "XB", "XA"
	default:
		return "", "XA"
	}
}

func (to audience) audiences(member string, future bool) []*ententev1.Audience {
	without, named := partners(member)
	project := &ententev1.ProjectAudience{ProjectId: ProjectID}
	switch to {
	case toAll:
		all := &ententev1.AllMembersAudience{IncludeFuture: future}
		return []*ententev1.Audience{{Readers: &ententev1.Audience_AllMembers{AllMembers: all}}}
	case toProject:
		return []*ententev1.Audience{{Readers: &ententev1.Audience_Project{Project: project}}}
	case toSome:
		project.Without = []string{without}
		return []*ententev1.Audience{{Readers: &ententev1.Audience_Project{Project: project}}}
	case toOne:
		members := &ententev1.NamedMembersAudience{Members: []string{named, CoordinatorID}, MergeFor: []string{named}}
		return []*ententev1.Audience{{Readers: &ententev1.Audience_Members{Members: members}}}
	default:
		return nil
	}
}

func (to audience) classification() *ententev1.Classification {
	level := ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_FOR_OFFICIAL_USE_ONLY
	if to >= toProject {
		level = ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_RESTRICTED
	}
	if to >= toOne {
		level = ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_CONFIDENTIAL
	}
	return &ententev1.Classification{Level: level}
}

// entry is a line of a nation's table: a record, but for what the nation adds to all of its records.
type entry struct {
	key      string // how the tables name it; of a person the same in all nations
	to       audience
	grade    string // source code, then information code
	body     *ententev1.Body
	areas    []ententev1.CrimeArea
	text     string // of handling code H3
	assessed bool   // an assessment, not a fact
}

// about sets the fields of crime.
func (e entry) about(areas ...ententev1.CrimeArea) entry {
	e.areas = areas
	return e
}

// under adds handling code H3 with its text.
func (e entry) under(text string) entry {
	e.text = text
	return e
}

// handling follows the audience: the fewer the readers, the stricter.
func (e entry) handling() *ententev1.HandlingConditions {
	codes := []ententev1.HandlingCode{ententev1.HandlingCode_HANDLING_CODE_H0}
	if e.to >= toProject {
		codes = []ententev1.HandlingCode{ententev1.HandlingCode_HANDLING_CODE_H1}
	}
	if e.to >= toSome {
		codes = append(codes, ententev1.HandlingCode_HANDLING_CODE_H2)
	}
	if e.text != "" {
		codes = append(codes, ententev1.HandlingCode_HANDLING_CODE_H3)
	}
	return &ententev1.HandlingConditions{Codes: codes, Text: e.text}
}

func isLibrary(body *ententev1.Body) bool {
	return body.GetLesson() != nil || body.GetGoodPractice() != nil
}

// letterOf gives the letter of a kind in the references of the invented systems.
func letterOf(body *ententev1.Body) string {
	switch body.GetKind().(type) {
	case *ententev1.Body_Person:
		return "P"
	case *ententev1.Body_CriminalGroup:
		return "G"
	case *ententev1.Body_Organisation:
		return "O"
	case *ententev1.Body_Location:
		return "L"
	case *ententev1.Body_MeansOfTransport:
		return "V"
	case *ententev1.Body_Firearm:
		return "F"
	case *ententev1.Body_CommunicationMeans:
		return "C"
	case *ententev1.Body_IdentityDocument:
		return "D"
	case *ententev1.Body_FinancialAccount:
		return "A"
	case *ententev1.Body_Event:
		return "E"
	case *ententev1.Body_Case:
		return "K"
	default:
		return "X" // goods and assets
	}
}

// bodyOf puts a message into the field of Body that has its type.
func bodyOf(kind proto.Message) *ententev1.Body {
	body := new(ententev1.Body)
	message := body.ProtoReflect()
	fields := message.Descriptor().Fields()
	for i := range fields.Len() {
		if fields.Get(i).Message() == kind.ProtoReflect().Descriptor() {
			message.Set(fields.Get(i), message.NewField(fields.Get(i)))
			proto.Merge(message.Mutable(fields.Get(i)).Message().Interface(), kind)
		}
	}
	return body
}

func thing(key string, to audience, grade string, kind proto.Message) entry {
	return entry{key: key, to: to, grade: grade, body: bodyOf(kind)}
}

type personPart func(*ententev1.Person)

func person(key string, to audience, grade string, parts ...personPart) entry {
	p := &ententev1.Person{Status: ententev1.PersonStatus_PERSON_STATUS_CONTACT_OR_ASSOCIATE}
	for _, part := range parts {
		part(p)
	}
	return thing(key, to, grade, p)
}

func inStatus(s ententev1.PersonStatus) personPart {
	return func(p *ententev1.Person) { p.Status = s }
}

// suspect says why the person is held to be one.
func suspect(basis string) personPart {
	return func(p *ententev1.Person) {
		p.Status = ententev1.PersonStatus_PERSON_STATUS_SUSPECT
		p.SuspicionBasis = basis
	}
}

func nameOf(name *ententev1.PersonName) personPart {
	return func(p *ententev1.Person) { p.Names = append(p.Names, name) }
}

func named(family, given string) personPart {
	return nameOf(&ententev1.PersonName{Type: ententev1.NameType_NAME_TYPE_PRIMARY, Family: family, Given: given})
}

func alias(family, given string) personPart {
	return nameOf(&ententev1.PersonName{Type: ententev1.NameType_NAME_TYPE_ALIAS, Family: family, Given: given})
}

func nickname(given string) personPart {
	return nameOf(&ententev1.PersonName{Type: ententev1.NameType_NAME_TYPE_NICKNAME, Given: given})
}

// spelled is a name carried over from another script by ear or by a system; original may be empty.
func spelled(family, given, system, original string) personPart {
	return nameOf(&ententev1.PersonName{
		Type: ententev1.NameType_NAME_TYPE_PRIMARY, Family: family, Given: given,
		Transliteration: system, FullOriginal: original,
	})
}

// cyrillic is a name in its own script.
func cyrillic(family, given, patronymic string) personPart {
	return nameOf(&ententev1.PersonName{
		Type: ententev1.NameType_NAME_TYPE_PRIMARY, Family: family, Given: given, Patronymic: patronymic, Script: "Cyrl",
	})
}

func born(year, month, day uint32) personPart {
	return func(p *ententev1.Person) { p.DatesOfBirth = append(p.DatesOfBirth, date(year, month, day)) }
}

func female(p *ententev1.Person) { p.Sex = ententev1.Sex_SEX_FEMALE }

func male(p *ententev1.Person) { p.Sex = ententev1.Sex_SEX_MALE }

func nationality(countries ...string) personPart {
	return func(p *ententev1.Person) { p.Nationalities = countries }
}

func paper(kind ententev1.DocumentType, issuer, number string) personPart {
	return func(p *ententev1.Person) {
		document := &ententev1.IdentityDocument{Type: kind, Number: number, IssuingCountry: issuer}
		p.Documents = append(p.Documents, document)
	}
}

func passport(issuer, number string) personPart {
	return paper(ententev1.DocumentType_DOCUMENT_TYPE_PASSPORT, issuer, number)
}

func idCard(issuer, number string) personPart {
	return paper(ententev1.DocumentType_DOCUMENT_TYPE_IDENTITY_CARD, issuer, number)
}

func works(occupation string) personPart {
	return func(p *ententev1.Person) { p.Occupations = append(p.Occupations, occupation) }
}

func remark(text string) personPart {
	return func(p *ententev1.Person) { p.Notes = text }
}

// date keeps what is known: month or day 0 lowers the precision.
func date(year, month, day uint32) *ententev1.PartialDate {
	precision := ententev1.DatePrecision_DATE_PRECISION_DAY
	if day == 0 {
		precision = ententev1.DatePrecision_DATE_PRECISION_MONTH
	}
	if month == 0 {
		precision = ententev1.DatePrecision_DATE_PRECISION_YEAR
	}
	return &ententev1.PartialDate{Year: year, Month: month, Day: day, Precision: precision}
}

func textNames(name string) []*ententev1.TextName {
	return []*ententev1.TextName{{Type: ententev1.NameType_NAME_TYPE_PRIMARY, Text: name}}
}

func address(country, locality, street string) *ententev1.Address {
	return &ententev1.Address{Country: country, Locality: locality, Street: street}
}

// company is a legal business structure of the case.
func company(key string, to audience, grade, name, country, register, sector string, use ententev1.LegalBusinessUse) entry {
	return thing(key, to, grade, &ententev1.Organisation{
		Names: textNames(name), Type: ententev1.OrganisationType_ORGANISATION_TYPE_COMPANY, RegistrationNumber: register,
		RegistrationCountry: country, Sector: sector, LegalBusinessStructure: true, BusinessUse: use,
	}).about(laundering)
}

func group(key string, to audience, grade string, g *ententev1.CriminalGroup) entry {
	e := thing(key, to, grade, g)
	e.assessed = true
	return e.about(g.MainCrimeArea)
}

func account(key string, to audience, grade, number, country, bank, holder string) entry {
	return thing(key, to, grade, &ententev1.FinancialAccount{
		Type: ententev1.AccountType_ACCOUNT_TYPE_BANK, Number: number, Institution: bank, InstitutionCountry: country,
		Currency: "EUR", HolderName: holder,
	}).about(laundering)
}

func phone(key string, to audience, grade, number string) entry {
	return thing(key, to, grade, &ententev1.CommunicationMeans{
		Type: ententev1.MeansOfCommunicationType_MEANS_OF_COMMUNICATION_TYPE_PHONE, Value: number,
	})
}

func vehicle(key string, to audience, grade, plate, country, brand, model, colour string) entry {
	return thing(key, to, grade, &ententev1.MeansOfTransport{
		Kind: &ententev1.MeansOfTransport_Vehicle{Vehicle: &ententev1.Vehicle{Plate: plate, PlateCountry: country}},
		Make: brand, Model: model, Colour: colour, State: ententev1.ObjectState_OBJECT_STATE_IN_USE,
	})
}

func vessel(key string, to audience, grade, name, imo, mmsi, flag string) entry {
	return thing(key, to, grade, &ententev1.MeansOfTransport{
		Kind: &ententev1.MeansOfTransport_Vessel{Vessel: &ententev1.Vessel{Name: name, Imo: imo, Mmsi: mmsi, Flag: flag}},
	})
}

func firearm(key string, to audience, grade string, kind ententev1.FirearmType, brand, calibre, serial string) entry {
	return thing(key, to, grade, &ententev1.Firearm{
		Type: kind, Make: brand, Calibre: calibre, SerialNumber: serial, SerialNumberObliterated: serial == "",
		State: ententev1.ObjectState_OBJECT_STATE_SEIZED,
	}).about(weapons)
}

func place(key string, to audience, grade string, kind ententev1.LocationType, name string, a *ententev1.Address) entry {
	return thing(key, to, grade, &ententev1.Location{Names: textNames(name), Type: kind, Address: a})
}

func document(key string, to audience, grade, country, number, notes string, state ententev1.DocumentState) entry {
	return thing(key, to, grade, &ententev1.IdentityDocument{
		Type: ententev1.DocumentType_DOCUMENT_TYPE_PASSPORT, Number: number, IssuingCountry: country, State: state,
		Notes: notes,
	}).about(forgery)
}

func event(
	key string, to audience, grade string, kind ententev1.EventType, title string,
	on *ententev1.PartialDate, where *ententev1.Address, what string,
) entry {
	return thing(key, to, grade, &ententev1.Event{
		Type: kind, Title: title, Period: &ententev1.Period{From: on, To: on}, Address: where, Description: what,
	})
}

func caseFile(key string, to audience, grade, number, title, summary string, countries ...string) entry {
	return thing(key, to, grade, &ententev1.Case{
		Number: number, Title: title, State: ententev1.CaseState_CASE_STATE_OPEN, Countries: countries, Summary: summary,
		Period: &ententev1.Period{From: date(2026, 1, 0)},
	})
}

func goods(key string, to audience, grade string, kind ententev1.CommodityType, name string, kilograms int64, hidden string) entry {
	return thing(key, to, grade, &ententev1.Commodity{
		Type: kind, Name: name, Concealment: hidden,
		Quantity: &ententev1.Quantity{Thousandths: kilograms * 1000, Unit: "kg"},
	})
}

// tieRow is a line of associations: one from, one or more to.
type tieRow struct {
	from    string
	to      []string
	body    *ententev1.Association
	planted bool // asks for a release that has to wait
}

type tiePart func(*tieRow)

// tie joins the entity from with each of the entities to (keys, separated by spaces). It goes as far as both ends do.
func tie(from string, kind ententev1.AssociationKind, to string, parts ...tiePart) tieRow {
	direction := ententev1.AssociationDirection_ASSOCIATION_DIRECTION_FORWARD
	switch kind {
	case meets, talksTo, coOffends, alliedWith, competesWith, inConflictWith, relatedTo, travelsWith:
		direction = ententev1.AssociationDirection_ASSOCIATION_DIRECTION_MUTUAL
	}
	row := tieRow{from: from, to: strings.Fields(to), body: &ententev1.Association{
		Kind: kind, Direction: direction, Strength: ententev1.TieStrength_TIE_STRENGTH_MODERATE,
		Certainty: ententev1.Certainty_CERTAINTY_SUSPECTED,
	}}
	for _, part := range parts {
		part(&row)
	}
	return row
}

func confirmed(row *tieRow) { row.body.Certainty = ententev1.Certainty_CERTAINTY_CONFIRMED }

func strong(row *tieRow) { row.body.Strength = ententev1.TieStrength_TIE_STRENGTH_STRONG }

func weak(row *tieRow) { row.body.Strength = ententev1.TieStrength_TIE_STRENGTH_WEAK }

// everywhere asks for a release to all, whatever the ends allow.
func everywhere(row *tieRow) { row.planted = true }

func ground(basis ententev1.TieBasis) tiePart {
	return func(row *tieRow) { row.body.Ties = append(row.body.Ties, &ententev1.Tie{Basis: basis}) }
}

// kin says how from is related to the other; what does not read the same backwards makes the association one-way.
func kin(degree ententev1.KinshipDegree) tiePart {
	return func(row *tieRow) {
		if degree != sibling && degree != spouse && degree != cousin {
			row.body.Direction = ententev1.AssociationDirection_ASSOCIATION_DIRECTION_FORWARD
		}
		kinship := &ententev1.Tie{Basis: ententev1.TieBasis_TIE_BASIS_KINSHIP, Kinship: degree}
		row.body.Ties = append(row.body.Ties, kinship)
	}
}

// seen counts observations between two months.
func seen(count uint32, first, last *ententev1.PartialDate) tiePart {
	return func(row *tieRow) { row.body.Count, row.body.FirstSeen, row.body.LastSeen = count, first, last }
}

// sum is money in euros.
func sum(euros int64) tiePart {
	return func(row *tieRow) {
		row.body.Amount = &ententev1.Money{MinorUnits: euros * 100, Currency: "EUR", Date: date(2026, 1, 0)}
	}
}

func by(channel string) tiePart {
	return func(row *tieRow) { row.body.ChannelNotes = channel }
}

// roleRow is a line of roles.
type roleRow struct {
	person, group string
	body          *ententev1.Role
}

type rolePart func(*ententev1.Role)

// role says what a person does; group may be empty.
func role(person, group string, does ententev1.FunctionalRole, since uint32, parts ...rolePart) roleRow {
	body := &ententev1.Role{
		FunctionalRole: does, Certainty: ententev1.Certainty_CERTAINTY_SUSPECTED,
		CrimeAreas: []ententev1.CrimeArea{drugs}, Period: &ententev1.Period{From: date(since, 0, 0)},
	}
	for _, part := range parts {
		part(body)
	}
	return roleRow{person: person, group: group, body: body}
}

func sure(r *ententev1.Role) { r.Certainty = ententev1.Certainty_CERTAINTY_CONFIRMED }

func positioned(at ententev1.PositionalRole) rolePart {
	return func(r *ententev1.Role) { r.PositionalRole = at }
}

func office(name string) rolePart {
	return func(r *ententev1.Role) {
		r.Office = name
		r.CrimeAreas = []ententev1.CrimeArea{corruption, drugs}
	}
}

func ranked(title string) rolePart {
	return func(r *ententev1.Role) { r.RankTitle = title }
}

func money(r *ententev1.Role) { r.CrimeAreas = []ententev1.CrimeArea{laundering} }
