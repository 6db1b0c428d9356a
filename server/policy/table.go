// Package policy decides what may leave a node, and who may ask for what. It is the one way out: nothing is sent to anybody before a function of this package has said yes to the very object being sent.
//
// It holds four decisions, each in a file of its own:
//
//   - table.go: which kind of identity may call which method, in one table;
//   - audience.go: which member may read an object. Its answer is a Cleared value, which nobody else can make and
//     which is all that package server's send functions take;
//   - check.go: whether a record may be taken, and release.go whether it may leave, by rules that a field alone cannot
//     show (field rules stand in the contract);
//   - grants.go: what a member allows its own systems and officers, from the node's configuration.
//
// The invariant: each decision is a pure function of its arguments. No clock, no disk, no state, so that a decision can
// be repeated, and a test can ask every question. Whoever is not named is refused; an unknown code or field counts as
// the strictest.
//
// It does not know where a record comes from, does not log and does not send. Whether a member is in the roster and
// not suspended is asked by package server, which has the roster.
//
// Example: a node asks for entries of a stream.
//
//	policy.Allowed(ententev1.ExchangeService_Pull_FullMethodName, caller, self) // may it ask at all?
//	cleared, ok := policy.ClearStream(caller.Member, owner, readers, response)  // may it get this very message?
package policy

import (
	"slices"
	"strings"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// whence says from which member a caller may come.
type whence uint8

const (
	own   whence = iota // the node's own member
	other               // any member but the node's own
	every               // every member, the own one included
)

// callers is one kind of identity, and from where.
type callers struct {
	kind member.Kind
	from whence
}

// line is one line of the table.
type line struct {
	method string
	may    []callers
	trail  []ententev1.AuditOperation // what a call leaves in the audit trail; none: it shows and changes no record
}

// What a call leaves in the audit trail.
const (
	collection   = ententev1.AuditOperation_AUDIT_OPERATION_COLLECTION
	alteration   = ententev1.AuditOperation_AUDIT_OPERATION_ALTERATION
	consultation = ententev1.AuditOperation_AUDIT_OPERATION_CONSULTATION
	disclosure   = ententev1.AuditOperation_AUDIT_OPERATION_DISCLOSURE
	combination  = ententev1.AuditOperation_AUDIT_OPERATION_COMBINATION
	erasure      = ententev1.AuditOperation_AUDIT_OPERATION_ERASURE
)

// table is who may call what: each method that a node registers has its line here, or the server does not start.
// Across members only nodes call nodes; everybody else calls the own member's node.
func table() []line {
	system, officer := callers{member.KindSystem, own}, callers{member.KindOfficer, own}
	operator, auditor := callers{member.KindOperator, own}, callers{member.KindAuditor, own}
	peer, node := callers{member.KindNode, other}, callers{member.KindNode, every}
	return []line{
		{ententev1.IntakeService_Push_FullMethodName, []callers{system}, []ententev1.AuditOperation{collection, alteration}},
		{ententev1.IntakeService_Get_FullMethodName, []callers{system}, []ententev1.AuditOperation{consultation}},
		{ententev1.IntakeService_List_FullMethodName, []callers{system}, []ententev1.AuditOperation{consultation}},
		{ententev1.IntakeService_Release_FullMethodName, []callers{system}, []ententev1.AuditOperation{alteration}},
		{ententev1.IntakeService_Withdraw_FullMethodName, []callers{system}, []ententev1.AuditOperation{alteration, erasure}},
		{ententev1.IntakeService_PreviewReader_FullMethodName, []callers{system}, []ententev1.AuditOperation{consultation}},
		{ententev1.IntakeService_GrantStream_FullMethodName, []callers{system}, []ententev1.AuditOperation{alteration}},
		{ententev1.IntakeService_PreviewRelease_FullMethodName, []callers{system}, []ententev1.AuditOperation{consultation}},
		{ententev1.IntakeService_ListPending_FullMethodName, []callers{officer}, []ententev1.AuditOperation{consultation}},
		{ententev1.IntakeService_DecideRelease_FullMethodName, []callers{officer}, []ententev1.AuditOperation{alteration}},
		{ententev1.IntakeService_Restrict_FullMethodName, []callers{system}, []ententev1.AuditOperation{alteration}},
		{ententev1.IntakeService_Hold_FullMethodName, []callers{system}, []ententev1.AuditOperation{alteration}},
		{ententev1.IntakeService_Renew_FullMethodName, []callers{system}, []ententev1.AuditOperation{alteration}},
		{ententev1.IntakeService_ListDue_FullMethodName, []callers{system}, []ententev1.AuditOperation{consultation}},
		{ententev1.IntakeService_ListSent_FullMethodName, []callers{system}, []ententev1.AuditOperation{consultation}},
		{ententev1.IntakeService_Permit_FullMethodName, []callers{system}, []ententev1.AuditOperation{alteration}},
		{ententev1.IntakeService_RevokePermission_FullMethodName, []callers{system}, []ententev1.AuditOperation{alteration}},
		{ententev1.IntakeService_ListPermissions_FullMethodName, []callers{system}, []ententev1.AuditOperation{consultation}},

		{ententev1.StreamService_Subscribe_FullMethodName, []callers{system, officer}, []ententev1.AuditOperation{consultation}},

		{ententev1.LibraryService_List_FullMethodName, []callers{system, officer}, []ententev1.AuditOperation{consultation}},
		{ententev1.LibraryService_Get_FullMethodName, []callers{system, officer}, []ententev1.AuditOperation{consultation}},

		{ententev1.NetworkService_GetView_FullMethodName, []callers{system, officer, peer}, []ententev1.AuditOperation{consultation, disclosure, combination}},
		{ententev1.NetworkService_GetEntity_FullMethodName, []callers{system, officer, peer}, []ententev1.AuditOperation{consultation, disclosure, combination}},
		{ententev1.NetworkService_Watch_FullMethodName, []callers{system, officer, peer}, []ententev1.AuditOperation{consultation, disclosure, combination}},
		{ententev1.NetworkService_Export_FullMethodName, []callers{system, officer, peer}, []ententev1.AuditOperation{disclosure, combination}},

		{ententev1.ExchangeService_Heads_FullMethodName, []callers{peer}, nil},
		{ententev1.ExchangeService_Pull_FullMethodName, []callers{peer}, []ententev1.AuditOperation{disclosure}},
		{ententev1.ExchangeService_SubmitReceipts_FullMethodName, []callers{peer}, nil},
		{ententev1.ExchangeService_WitnessAudit_FullMethodName, []callers{peer}, nil},
		{ententev1.ExchangeService_ListDisclosures_FullMethodName, []callers{peer}, []ententev1.AuditOperation{disclosure}},

		{ententev1.RosterService_GetRoster_FullMethodName, []callers{node}, nil},
		{ententev1.RosterService_ListProjectDocuments_FullMethodName, []callers{node}, nil},

		{ententev1.AdminService_GetStatus_FullMethodName, []callers{operator}, nil},
		{ententev1.AdminService_Backup_FullMethodName, []callers{operator}, []ententev1.AuditOperation{disclosure}},
		{ententev1.AdminService_Reseal_FullMethodName, []callers{operator}, nil},
		{ententev1.AdminService_ExportStreams_FullMethodName, []callers{operator}, []ententev1.AuditOperation{disclosure}},
		{ententev1.AdminService_ImportStreams_FullMethodName, []callers{operator}, []ententev1.AuditOperation{collection, erasure}},
		{ententev1.AdminService_Compact_FullMethodName, []callers{operator}, nil},
		{ententev1.AdminService_ConfirmClock_FullMethodName, []callers{operator}, []ententev1.AuditOperation{alteration}},

		{ententev1.AuditService_ListEntries_FullMethodName, []callers{auditor}, []ententev1.AuditOperation{consultation}},
		{ententev1.AuditService_ReadTrail_FullMethodName, []callers{auditor}, []ententev1.AuditOperation{consultation}},
		{ententev1.AuditService_FindSubject_FullMethodName, []callers{auditor}, []ententev1.AuditOperation{consultation}},
		{ententev1.AuditService_TraceSubject_FullMethodName, []callers{auditor}, []ententev1.AuditOperation{consultation}},
		{ententev1.AuditService_Reconcile_FullMethodName, []callers{auditor}, []ententev1.AuditOperation{consultation}},
		{ententev1.AuditService_SetHoney_FullMethodName, []callers{auditor}, []ententev1.AuditOperation{alteration}},
		{ententev1.AuditService_ListAlerts_FullMethodName, []callers{auditor}, []ententev1.AuditOperation{consultation}},

		{"/grpc.health.v1.Health/Check", everybody(), nil},
		{"/grpc.health.v1.Health/Watch", everybody(), nil},
		{"/grpc.health.v1.Health/List", nil, nil}, // lists services: nobody needs it
	}
}

// everybody is any identity that the TLS handshake has verified.
func everybody() []callers {
	return []callers{
		{member.KindNode, every}, {member.KindSystem, every}, {member.KindOfficer, every},
		{member.KindAuditor, every}, {member.KindOperator, every},
	}
}

// Table is the access table in the form that a server keeps: made once, then only read.
type Table struct {
	lines map[string]line
}

// NewTable makes the access table.
func NewTable() Table {
	lines := make(map[string]line)
	for _, l := range table() {
		lines[l.method] = l
	}
	return Table{lines: lines}
}

// Has says whether the full method name ("/entente.v1.IntakeService/Push") has a line.
func (t Table) Has(method string) bool {
	_, ok := t.lines[method]
	return ok
}

// Leaves says what a call of the method leaves in the audit trail. None: it shows and changes no record.
func (t Table) Leaves(method string) []ententev1.AuditOperation { return t.lines[method].trail }

// Allowed says whether caller may call method at the node of self at all. It says nothing about what the caller gets.
func (t Table) Allowed(method string, caller member.Identity, self member.ID) bool {
	for _, c := range t.lines[method].may {
		if c.kind != caller.Kind {
			continue
		}
		switch c.from {
		case own:
			return caller.Member == self
		case other:
			return caller.Member != self
		case every:
			return true
		}
	}
	return false
}

// AfterLeaving says whether a method stays open to the own people of a member that has left the federation: what concerns its
// own records and the running of its node. What others released to it is closed to them at once, before it is erased.
func AfterLeaving(method string) bool {
	service, _, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	return slices.Contains([]string{ententev1.IntakeService_ServiceDesc.ServiceName, ententev1.AdminService_ServiceDesc.ServiceName,
		ententev1.AuditService_ServiceDesc.ServiceName,
		"grpc.health.v1.Health"}, service)
}

// Methods lists the methods that have a line, in the order of the table.
func Methods() []string {
	var methods []string
	for _, l := range table() {
		methods = append(methods, l.method)
	}
	return methods
}

// Allowed is Table.Allowed for a caller that asks once.
func Allowed(method string, caller member.Identity, self member.ID) bool {
	return NewTable().Allowed(method, caller, self)
}
