package policy

import (
	"slices"
	"strings"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// given says whether one of the texts says something.
func given(texts ...string) bool {
	return slices.ContainsFunc(texts, func(text string) bool { return strings.TrimSpace(text) != "" })
}

// identified holds the least that a record must say for a reader to know what it is about: the table of minimum fields by
// kind. One of the fields that the reason names is enough, and the first of them stands as the field at fault. The kinds that
// are not listed need no more than the contract asks of them.
func (f *findings) identified(body *ententev1.Body) {
	switch b := body.GetKind().(type) {
	case *ententev1.Body_Person:
		f.when(!personKnown(b.Person), "body.person.names",
			"or documents or communication is required on a release; of an unidentified person images or distinguishing_marks are enough")
	case *ententev1.Body_Organisation:
		o := b.Organisation
		f.when(!named(o.GetNames()) && !given(o.GetRegistrationNumber(), o.GetTaxNumber()),
			"body.organisation.names", "or registration_number or tax_number is required on a release")
	case *ententev1.Body_CriminalGroup:
		f.when(!groupKnown(b.CriminalGroup), "body.criminal_group.names",
			"or main_crime_area with countries or territories is required on a release")
	case *ententev1.Body_Location:
		l := b.Location
		f.when(!named(l.GetNames()) && !addressKnown(l.GetAddress()) && l.GetPoint() == nil,
			"body.location.address", "or point or names is required on a release")
	case *ententev1.Body_MeansOfTransport:
		f.when(!transportKnown(b.MeansOfTransport), "body.means_of_transport",
			"needs one of its identifying numbers, or make or model, on a release")
	case *ententev1.Body_Firearm:
		a := b.Firearm
		f.when(!given(a.GetSerialNumber(), a.GetMake(), a.GetModel(), a.GetCalibre(), a.GetMarks()),
			"body.firearm.serial_number", "or make, model, calibre or marks is required on a release")
	case *ententev1.Body_CommunicationMeans:
		f.when(!given(b.CommunicationMeans.GetValue()), "body.communication_means.value", "is required on a release")
	case *ententev1.Body_IdentityDocument:
		f.when(!given(b.IdentityDocument.GetNumber()), "body.identity_document.number", "is required on a release")
	case *ententev1.Body_FinancialAccount:
		f.when(!given(b.FinancialAccount.GetNumber()), "body.financial_account.number", "is required on a release")
	default:
		f.recognised(body)
	}
}

// recognised is the rest of the table: things and happenings.
func (f *findings) recognised(body *ententev1.Body) {
	switch b := body.GetKind().(type) {
	case *ententev1.Body_Asset:
		a := b.Asset
		f.when(!given(a.GetDescription(), a.GetRegisterNumber()) && !addressKnown(a.GetAddress()) && a.GetValue() == nil,
			"body.asset.description", "or register_number, address or value is required on a release")
	case *ententev1.Body_Commodity:
		f.when(b.Commodity.GetType() == 0, "body.commodity.type", "is required on a release")
	case *ententev1.Body_Event:
		e := b.Event
		known := e.GetPeriod() != nil || e.GetStartedAt() != nil || addressKnown(e.GetAddress()) || e.GetPoint() != nil
		f.when(!known && !given(e.GetTitle(), e.GetDescription()),
			"body.event.period", "or started_at, address, point, title or description is required on a release")
	case *ententev1.Body_Case:
		f.when(!given(b.Case.GetNumber(), b.Case.GetTitle()), "body.case.number", "or title is required on a release")
	case *ententev1.Body_Media:
		f.when(!mediumKnown(b.Media.GetRef()), "body.media.ref.sha256", "or perceptual_hash is required on a release")
	case *ententev1.Body_Biometric:
		f.when(b.Biometric.GetModality() == 0, "body.biometric.modality", "is required on a release")
		f.when(!mediumKnown(b.Biometric.GetRef()), "body.biometric.ref.sha256", "or perceptual_hash is required on a release")
	}
}

func personKnown(p *ententev1.Person) bool {
	name := slices.ContainsFunc(p.GetNames(), func(n *ententev1.PersonName) bool {
		return given(n.GetFamily(), n.GetGiven(), n.GetPatronymic(), n.GetFullOriginal())
	})
	document := slices.ContainsFunc(p.GetDocuments(), func(d *ententev1.IdentityDocument) bool { return given(d.GetNumber()) })
	means := slices.ContainsFunc(p.GetCommunication(), func(c *ententev1.CommunicationMeans) bool { return given(c.GetValue()) })
	if name || document || means {
		return true
	}
	unidentified := p.GetStatus() == ententev1.PersonStatus_PERSON_STATUS_UNIDENTIFIED
	return unidentified && (slices.ContainsFunc(p.GetImages(), mediumKnown) || given(p.GetDistinguishingMarks()))
}

func named(names []*ententev1.TextName) bool {
	return slices.ContainsFunc(names, func(n *ententev1.TextName) bool { return given(n.GetText(), n.GetOriginal()) })
}

func groupKnown(g *ententev1.CriminalGroup) bool {
	placed := given(g.GetCountries()...) || given(g.GetTerritories()...)
	return named(g.GetNames()) || g.GetMainCrimeArea() != 0 && placed
}

func addressKnown(a *ententev1.Address) bool {
	return given(a.GetCountry(), a.GetRegion(), a.GetLocality(), a.GetPostalCode(), a.GetStreet(), a.GetOriginal())
}

func transportKnown(m *ententev1.MeansOfTransport) bool {
	vehicle, vessel, aircraft := m.GetVehicle(), m.GetVessel(), m.GetAircraft()
	return given(m.GetMake(), m.GetModel()) ||
		given(vehicle.GetPlate(), vehicle.GetVin()) ||
		given(vessel.GetName(), vessel.GetImo(), vessel.GetMmsi(), vessel.GetCallSign()) ||
		given(aircraft.GetRegistration(), aircraft.GetSerialNumber(), aircraft.GetIcaoAddress())
}

func mediumKnown(m *ententev1.MediaRef) bool {
	return len(m.GetSha256()) > 0 || len(m.GetPerceptualHash()) > 0
}

// CheckSuspicion says whether a suspect's record lacks why the person is held to be one. A node asks it where its member
// demands so.
func CheckSuspicion(r *ententev1.Record) []*ententev1.FieldViolation {
	f := &findings{}
	p := r.GetBody().GetPerson()
	suspect := p.GetStatus() == ententev1.PersonStatus_PERSON_STATUS_SUSPECT
	f.when(suspect && !given(p.GetSuspicionBasis()), "body.person.suspicion_basis", "is required with status SUSPECT")
	return f.list
}

// CheckAttested says which of the required attestations a record lacks. One that this version does not know is always
// lacking.
func CheckAttested(r *ententev1.Record, required []ententev1.AttestationKind) []*ententev1.FieldViolation {
	f := &findings{}
	for _, kind := range required {
		_, known := ententev1.AttestationKind_name[int32(kind)]
		f.when(!known || !attested(r, kind), "envelope.attestations", "lack "+kind.String())
	}
	return f.list
}

// attested says whether the provider vouches for something. What is not given cannot be vouched for.
func attested(r *ententev1.Record, kind ententev1.AttestationKind) bool {
	return kind != 0 && slices.ContainsFunc(r.GetEnvelope().GetAttestations(), func(a *ententev1.Attestation) bool { return a.GetKind() == kind })
}

// CheckFIU says what is wrong with a record that holds data of a financial intelligence unit or another third party: that
// party must have agreed, with a note where its consent stands, and the record carries H2, because it agreed to no further
// recipient. No field of the contract names such an origin. So fromFIU is the caller's knowledge, from what the node's
// configuration says of the authority that pushes; a record that attests a third party's consent says by itself that there is one.
func CheckFIU(r *ententev1.Record, fromFIU bool) []*ententev1.FieldViolation {
	const consent = ententev1.AttestationKind_ATTESTATION_KIND_THIRD_PARTY_CONSENT
	f := &findings{}
	agreed := attested(r, consent)
	if !fromFIU && !agreed {
		return f.list
	}
	f.when(!agreed, "envelope.attestations", "lack "+consent.String())
	for i, a := range r.GetEnvelope().GetAttestations() {
		f.when(a.GetKind() == consent && !given(a.GetNote()), "envelope."+indexed("attestations", i)+".note",
			"must say where the third party's consent stands")
	}
	h2 := slices.Contains(r.GetEnvelope().GetHandling().GetCodes(), ententev1.HandlingCode_HANDLING_CODE_H2)
	f.when(!h2, "envelope.handling.codes", "must hold H2 with data of a third party")
	return f.list
}
