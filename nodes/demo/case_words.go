package demo

import ententev1 "entente.example/entente/proto/entente/v1"

// Short words for the codes that the tables use.
const (
	drugs      = ententev1.CrimeArea_CRIME_AREA_DRUGS
	laundering = ententev1.CrimeArea_CRIME_AREA_MONEY_LAUNDERING
	corruption = ententev1.CrimeArea_CRIME_AREA_CORRUPTION
	weapons    = ententev1.CrimeArea_CRIME_AREA_WEAPONS
	forgery    = ententev1.CrimeArea_CRIME_AREA_DOCUMENT_FRAUD

	memberOf       = ententev1.AssociationKind_ASSOCIATION_KIND_MEMBER_OF
	leads          = ententev1.AssociationKind_ASSOCIATION_KIND_LEADS
	reportsTo      = ententev1.AssociationKind_ASSOCIATION_KIND_REPORTS_TO
	coOffends      = ententev1.AssociationKind_ASSOCIATION_KIND_CO_OFFENDS
	talksTo        = ententev1.AssociationKind_ASSOCIATION_KIND_COMMUNICATES_WITH
	meets          = ententev1.AssociationKind_ASSOCIATION_KIND_MEETS
	travelsWith    = ententev1.AssociationKind_ASSOCIATION_KIND_TRAVELS_WITH
	finances       = ententev1.AssociationKind_ASSOCIATION_KIND_FINANCES
	supplies       = ententev1.AssociationKind_ASSOCIATION_KIND_SUPPLIES
	recruits       = ententev1.AssociationKind_ASSOCIATION_KIND_RECRUITS
	pays           = ententev1.AssociationKind_ASSOCIATION_KIND_PAYS
	bribes         = ententev1.AssociationKind_ASSOCIATION_KIND_BRIBES
	laundersFor    = ententev1.AssociationKind_ASSOCIATION_KIND_LAUNDERS_FOR
	protects       = ententev1.AssociationKind_ASSOCIATION_KIND_PROTECTS
	relatedTo      = ententev1.AssociationKind_ASSOCIATION_KIND_RELATED_TO
	owns           = ententev1.AssociationKind_ASSOCIATION_KIND_OWNS
	uses           = ententev1.AssociationKind_ASSOCIATION_KIND_USES
	drives         = ententev1.AssociationKind_ASSOCIATION_KIND_DRIVES
	residesAt      = ententev1.AssociationKind_ASSOCIATION_KIND_RESIDES_AT
	locatedAt      = ententev1.AssociationKind_ASSOCIATION_KIND_LOCATED_AT
	worksFor       = ententev1.AssociationKind_ASSOCIATION_KIND_WORKS_FOR
	directorOf     = ententev1.AssociationKind_ASSOCIATION_KIND_DIRECTOR_OF
	controls       = ententev1.AssociationKind_ASSOCIATION_KIND_BENEFICIAL_OWNER_OF
	holdsPaper     = ententev1.AssociationKind_ASSOCIATION_KIND_HOLDS_DOCUMENT
	holdsAccount   = ententev1.AssociationKind_ASSOCIATION_KIND_HOLDS_ACCOUNT
	transfersTo    = ententev1.AssociationKind_ASSOCIATION_KIND_TRANSFERS_TO
	presentAt      = ententev1.AssociationKind_ASSOCIATION_KIND_PRESENT_AT
	involvedIn     = ententev1.AssociationKind_ASSOCIATION_KIND_INVOLVED_IN
	seizedFrom     = ententev1.AssociationKind_ASSOCIATION_KIND_SEIZED_FROM
	alliedWith     = ententev1.AssociationKind_ASSOCIATION_KIND_ALLIED_WITH
	subordinateTo  = ententev1.AssociationKind_ASSOCIATION_KIND_SUBORDINATE_TO
	competesWith   = ententev1.AssociationKind_ASSOCIATION_KIND_COMPETES_WITH
	inConflictWith = ententev1.AssociationKind_ASSOCIATION_KIND_IN_CONFLICT_WITH
	serves         = ententev1.AssociationKind_ASSOCIATION_KIND_PROVIDES_SERVICE_TO
	splitFrom      = ententev1.AssociationKind_ASSOCIATION_KIND_SPLIT_FROM

	organiser    = ententev1.FunctionalRole_FUNCTIONAL_ROLE_ORGANISER
	financier    = ententev1.FunctionalRole_FUNCTIONAL_ROLE_FINANCIER
	recruiter    = ententev1.FunctionalRole_FUNCTIONAL_ROLE_RECRUITER
	distributor  = ententev1.FunctionalRole_FUNCTIONAL_ROLE_DISTRIBUTOR
	official     = ententev1.FunctionalRole_FUNCTIONAL_ROLE_CORRUPT_OFFICIAL
	producer     = ententev1.FunctionalRole_FUNCTIONAL_ROLE_PRODUCER
	transporter  = ententev1.FunctionalRole_FUNCTIONAL_ROLE_TRANSPORTER
	supplier     = ententev1.FunctionalRole_FUNCTIONAL_ROLE_SUPPLIER
	enforcer     = ententev1.FunctionalRole_FUNCTIONAL_ROLE_ENFORCER
	launderer    = ententev1.FunctionalRole_FUNCTIONAL_ROLE_LAUNDERER
	broker       = ententev1.FunctionalRole_FUNCTIONAL_ROLE_BROKER
	lawyer       = ententev1.FunctionalRole_FUNCTIONAL_ROLE_FACILITATOR_LEGAL
	technician   = ententev1.FunctionalRole_FUNCTIONAL_ROLE_FACILITATOR_TECH
	forger       = ententev1.FunctionalRole_FUNCTIONAL_ROLE_DOCUMENT_FORGER
	logistics    = ententev1.FunctionalRole_FUNCTIONAL_ROLE_LOGISTICS
	stashKeeper  = ententev1.FunctionalRole_FUNCTIONAL_ROLE_STASH_KEEPER
	strawOwner   = ententev1.FunctionalRole_FUNCTIONAL_ROLE_STRAW_OWNER
	insulator    = ententev1.PositionalRole_POSITIONAL_ROLE_INSULATOR
	communicator = ententev1.PositionalRole_POSITIONAL_ROLE_COMMUNICATOR
	guardian     = ententev1.PositionalRole_POSITIONAL_ROLE_GUARDIAN
	extender     = ententev1.PositionalRole_POSITIONAL_ROLE_EXTENDER
	crossover    = ententev1.PositionalRole_POSITIONAL_ROLE_CROSSOVER
	core         = ententev1.PositionalRole_POSITIONAL_ROLE_ORGANISER

	convicted = ententev1.PersonStatus_PERSON_STATUS_CONVICTED
	wanted    = ententev1.PersonStatus_PERSON_STATUS_WANTED
	victim    = ententev1.PersonStatus_PERSON_STATUS_VICTIM
	witness   = ententev1.PersonStatus_PERSON_STATUS_WITNESS

	founded     = ententev1.LegalBusinessUse_LEGAL_BUSINESS_USE_FOUNDED
	infiltrated = ententev1.LegalBusinessUse_LEGAL_BUSINESS_USE_INFILTRATED
	abused      = ententev1.LegalBusinessUse_LEGAL_BUSINESS_USE_ABUSED

	meetingPlace = ententev1.LocationType_LOCATION_TYPE_MEETING_PLACE
	stash        = ententev1.LocationType_LOCATION_TYPE_STASH
	laboratory   = ententev1.LocationType_LOCATION_TYPE_LABORATORY
	port         = ententev1.LocationType_LOCATION_TYPE_BORDER_CROSSING
	home         = ententev1.LocationType_LOCATION_TYPE_ADDRESS

	meeting  = ententev1.EventType_EVENT_TYPE_MEETING
	shipment = ententev1.EventType_EVENT_TYPE_SHIPMENT
	seizure  = ententev1.EventType_EVENT_TYPE_SEIZURE
	violence = ententev1.EventType_EVENT_TYPE_VIOLENCE
	arrest   = ententev1.EventType_EVENT_TYPE_ARREST
	payment  = ententev1.EventType_EVENT_TYPE_TRANSACTION

	sibling = ententev1.KinshipDegree_KINSHIP_DEGREE_SIBLING
	spouse  = ententev1.KinshipDegree_KINSHIP_DEGREE_SPOUSE
	cousin  = ententev1.KinshipDegree_KINSHIP_DEGREE_COUSIN
	parent  = ententev1.KinshipDegree_KINSHIP_DEGREE_PARENT

	prison   = ententev1.TieBasis_TIE_BASIS_PRISON
	business = ententev1.TieBasis_TIE_BASIS_BUSINESS
	school   = ententev1.TieBasis_TIE_BASIS_SCHOOL
	military = ententev1.TieBasis_TIE_BASIS_MILITARY
	friends  = ententev1.TieBasis_TIE_BASIS_FRIENDSHIP
	district = ententev1.TieBasis_TIE_BASIS_GEOGRAPHIC
)
