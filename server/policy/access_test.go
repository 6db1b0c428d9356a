package policy

import (
	"errors"
	"slices"
	"strings"
	"testing"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// The golden matrix of who may call what, at the node of XA, written out by hand and not computed from the table: one
// row a service or method, one mark a caller, in the order of matrixCallers. "x" may, "." may not.
const matrix = `
                                            node  system officer auditor operator
                                            XA XB XA XB  XA XB   XA XB   XA XB
/entente.v1.IntakeService/Push              .  .  x  .   .  .    .  .    .  .
/entente.v1.IntakeService/Get               .  .  x  .   .  .    .  .    .  .
/entente.v1.IntakeService/List              .  .  x  .   .  .    .  .    .  .
/entente.v1.IntakeService/Release           .  .  x  .   .  .    .  .    .  .
/entente.v1.IntakeService/Withdraw          .  .  x  .   .  .    .  .    .  .
/entente.v1.IntakeService/PreviewReader     .  .  x  .   .  .    .  .    .  .
/entente.v1.IntakeService/GrantStream       .  .  x  .   .  .    .  .    .  .
/entente.v1.IntakeService/PreviewRelease    .  .  x  .   .  .    .  .  .  .
/entente.v1.IntakeService/ListPending       .  .  .  .   x  .    .  .  .  .
/entente.v1.IntakeService/DecideRelease     .  .  .  .   x  .    .  .  .  .
/entente.v1.IntakeService/Restrict          .  .  x  .   .  .    .  .  .  .
/entente.v1.IntakeService/Hold              .  .  x  .   .  .    .  .  .  .
/entente.v1.IntakeService/Renew             .  .  x  .   .  .    .  .  .  .
/entente.v1.IntakeService/ListDue           .  .  x  .   .  .    .  .  .  .
/entente.v1.IntakeService/ListSent          .  .  x  .   .  .    .  .  .  .
/entente.v1.IntakeService/Permit            .  .  x  .   .  .    .  .  .  .
/entente.v1.IntakeService/RevokePermission  .  .  x  .   .  .    .  .  .  .
/entente.v1.IntakeService/ListPermissions   .  .  x  .   .  .    .  .  .  .
/entente.v1.StreamService/Subscribe         .  .  x  .   x  .    .  .    .  .
/entente.v1.LibraryService/List             .  .  x  .   x  .    .  .    .  .
/entente.v1.LibraryService/Get              .  .  x  .   x  .    .  .    .  .
/entente.v1.NetworkService/GetView          .  x  x  .   x  .    .  .  .  .
/entente.v1.NetworkService/GetEntity        .  x  x  .   x  .    .  .  .  .
/entente.v1.NetworkService/Watch            .  x  x  .   x  .    .  .  .  .
/entente.v1.NetworkService/Export           .  x  x  .   x  .    .  .  .  .
/entente.v1.ExchangeService/Heads           .  x  .  .   .  .    .  .    .  .
/entente.v1.ExchangeService/Pull            .  x  .  .   .  .    .  .    .  .
/entente.v1.ExchangeService/SubmitReceipts  .  x  .  .   .  .    .  .    .  .
/entente.v1.ExchangeService/WitnessAudit    .  x  .  .   .  .    .  .  .  .
/entente.v1.ExchangeService/ListDisclosures .  x  .  .   .  .    .  .  .  .
/entente.v1.RosterService/GetRoster         x  x  .  .   .  .    .  .    .  .
/entente.v1.RosterService/ListProjectDocuments x x . .   .  .    .  .    .  .
/entente.v1.AdminService/GetStatus          .  .  .  .   .  .    .  .    x  .
/entente.v1.AdminService/Backup             .  .  .  .   .  .    .  .    x  .
/entente.v1.AdminService/Reseal             .  .  .  .   .  .    .  .    x  .
/entente.v1.AdminService/ExportStreams      .  .  .  .   .  .    .  .    x  .
/entente.v1.AdminService/ImportStreams      .  .  .  .   .  .    .  .    x  .
/entente.v1.AdminService/Compact            .  .  .  .   .  .    .  .  x  .
/entente.v1.AdminService/ConfirmClock       .  .  .  .   .  .    .  .  x  .
/entente.v1.AuditService/ListEntries        .  .  .  .   .  .    x  .  .  .
/entente.v1.AuditService/ReadTrail          .  .  .  .   .  .    x  .  .  .
/entente.v1.AuditService/FindSubject        .  .  .  .   .  .    x  .  .  .
/entente.v1.AuditService/TraceSubject       .  .  .  .   .  .    x  .  .  .
/entente.v1.AuditService/Reconcile          .  .  .  .   .  .    x  .  .  .
/entente.v1.AuditService/SetHoney           .  .  .  .   .  .    x  .  .  .
/entente.v1.AuditService/ListAlerts         .  .  .  .   .  .    x  .  .  .
/grpc.health.v1.Health/Check                x  x  x  x   x  x    x  x    x  x
/grpc.health.v1.Health/Watch                x  x  x  x   x  x    x  x    x  x
/grpc.health.v1.Health/List                 .  .  .  .   .  .    .  .    .  .
`

func matrixCallers() []member.Identity {
	var callers []member.Identity
	for _, kind := range []member.Kind{member.KindNode, member.KindSystem, member.KindOfficer, member.KindAuditor, member.KindOperator} {
		for _, id := range []member.ID{"XA", "XB"} {
			callers = append(callers, member.Identity{Member: id, Kind: kind, Name: "n"})
		}
	}
	return callers
}

func TestAllowedIsTheMatrix(t *testing.T) {
	var rows []string
	for row := range strings.Lines(matrix) {
		fields := strings.Fields(row)
		if len(fields) == 0 || !strings.HasPrefix(fields[0], "/") {
			continue
		}
		rows = append(rows, fields[0])
		for i, caller := range matrixCallers() {
			want := fields[i+1] == "x"
			if got := Allowed(fields[0], caller, "XA"); got != want {
				t.Errorf("%s by %s: want %v, got %v", fields[0], caller, want, got)
			}
		}
	}
	if !slices.Equal(rows, Methods()) {
		t.Errorf("the matrix and the table list other methods:\n%v\n%v", rows, Methods())
	}
}

func TestAMethodWithoutLineIsClosedToAll(t *testing.T) {
	for _, caller := range append(matrixCallers(), member.Identity{}) {
		if Allowed("/entente.v1.IntakeService/Erase", caller, "XA") {
			t.Errorf("open to %s", caller)
		}
	}
	if NewTable().Has("/entente.v1.IntakeService/Erase") {
		t.Error("has a line")
	}
}

func TestMayRead(t *testing.T) {
	readers := []member.ID{"XB", "XC"}
	tests := []struct {
		name   string
		reader member.ID
		want   bool
	}{
		{"a reader reads", "XB", true},
		{"the owner reads", "XA", true},
		{"another member does not", "XD", false},
		{"nobody does not", "", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := MayRead(test.reader, "XA", readers); got != test.want {
				t.Errorf("want %v", test.want)
			}
			cleared, ok := ClearStream(test.reader, "XA", readers, "text")
			if ok != test.want || (cleared.Value() == "text") != test.want {
				t.Errorf("ClearStream: want %v, got %v with %q", test.want, ok, cleared.Value())
			}
		})
	}
	if MayRead("", "", nil) {
		t.Error("nobody reads what is nobody's")
	}
}

func TestClearLetsNothingGoToAnotherMember(t *testing.T) {
	own := member.Identity{Member: "XA", Kind: member.KindSystem}
	tests := []struct {
		name string
		ok   func() (Cleared[string], bool)
		want bool
	}{
		{"own to own", func() (Cleared[string], bool) { return ClearOwn(own, "XA", "t") }, true},
		{"own to another", func() (Cleared[string], bool) { return ClearOwn(own, "XB", "t") }, false},
		{"own of nobody", func() (Cleared[string], bool) { return ClearOwn(member.Identity{}, "", "t") }, false},
		{"made for the reader", func() (Cleared[string], bool) { return ClearFor("XA", "XA", "t") }, true},
		{"made for another", func() (Cleared[string], bool) { return ClearFor("XA", "XB", "t") }, false},
		{"made for nobody", func() (Cleared[string], bool) { return ClearFor("", "", "t") }, false},
		{"among members", func() (Cleared[string], bool) { return ClearAmong("XA", []member.ID{"XB", "XA"}, "t") }, true},
		{"among others", func() (Cleared[string], bool) { return ClearAmong("XA", []member.ID{"XB"}, "t") }, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cleared, ok := test.ok()
			if ok != test.want || (cleared.Value() == "t") != test.want {
				t.Errorf("want %v, got %v with %q", test.want, ok, cleared.Value())
			}
		})
	}
}

func grants() Grants {
	investigate := []ententev1.Purpose{ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION}
	return Grants{
		Systems: map[string]System{
			"registry": {Authority: "XA Police", Projects: []string{AllProjects}},
			"pusher":   {Authority: "XA Customs"},
			"team":     {Projects: []string{"falcon"}},
		},
		Officers: map[string]Officer{
			"ann": {Purposes: investigate, Projects: []string{AllProjects}},
			"bob": {Purposes: investigate, Projects: []string{"falcon", "heron"}},
			"eve": {Projects: []string{AllProjects}},
		},
	}
}

func identity(kind member.Kind, name string) member.Identity {
	return member.Identity{Member: "XA", Kind: kind, Name: name}
}

func TestAuthority(t *testing.T) {
	tests := []struct {
		name   string
		caller member.Identity
		want   string // "" for refused
	}{
		{"a system that pushes", identity(member.KindSystem, "pusher"), "XA Customs"},
		{"a system without authority", identity(member.KindSystem, "team"), ""},
		{"a system that is not listed", identity(member.KindSystem, "other"), ""},
		{"an officer of the name of a system", identity(member.KindOfficer, "pusher"), ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := grants().Authority(test.caller)
			if got != test.want || (err != nil) != (test.want == "") {
				t.Errorf("want %q, got %q, %v", test.want, got, err)
			}
		})
	}
}

func TestMaySee(t *testing.T) {
	tests := []struct {
		name             string
		caller           member.Identity
		officer, project string
		want             bool
	}{
		{"all for who is granted all", identity(member.KindSystem, "registry"), "", "", true},
		{"any project for who is granted all", identity(member.KindSystem, "registry"), "", "heron", true},
		{"the granted project", identity(member.KindSystem, "team"), "", "falcon", true},
		{"not another project", identity(member.KindSystem, "team"), "", "heron", false},
		{"not everything", identity(member.KindSystem, "team"), "", "", false},
		{"nothing for who is granted none", identity(member.KindSystem, "pusher"), "", "", false},
		{"nothing for who is not listed", identity(member.KindSystem, "other"), "", "falcon", false},
		{"an officer's project", identity(member.KindOfficer, "bob"), "", "heron", true},
		{"a system that names an officer sees no more than the officer", identity(member.KindSystem, "registry"), "bob", "kite", false},
		{"a star as name of a project is no star", identity(member.KindSystem, "team"), "", AllProjects, false},
		{"an operator sees nothing", identity(member.KindOperator, "registry"), "", "falcon", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := &ententev1.Consultation{Officer: test.officer}
			if got := grants().MaySee(test.caller, c, test.project); got != test.want {
				t.Errorf("want %v", test.want)
			}
		})
	}
}

func TestNarrow(t *testing.T) {
	tests := []struct {
		name     string
		caller   member.Identity
		officer  string
		purpose  ententev1.Purpose
		asked    []string
		projects []string // of the answer
		refused  bool
	}{
		{"an officer without limit asks everything", identity(member.KindOfficer, "ann"), "", 3, nil, nil, false},
		{"an officer without limit asks a project", identity(member.KindOfficer, "ann"), "", 3, []string{"kite"}, []string{"kite"}, false},
		{"everything is what is granted", identity(member.KindOfficer, "bob"), "bob", 3, nil, []string{"falcon", "heron"}, false},
		{"what is asked is cut to what is granted", identity(member.KindOfficer, "bob"), "", 3, []string{"kite", "heron"}, []string{"heron"}, false},
		{"nothing left is refused, not unlimited", identity(member.KindOfficer, "bob"), "", 3, []string{"kite"}, nil, true},
		{"another purpose is refused", identity(member.KindOfficer, "ann"), "", 9, nil, nil, true},
		{"an officer without purposes is refused", identity(member.KindOfficer, "eve"), "", 3, nil, nil, true},
		{"an officer who is not listed is refused", identity(member.KindOfficer, "zoe"), "", 3, nil, nil, true},
		{"an officer in another's name is refused", identity(member.KindOfficer, "ann"), "bob", 3, nil, nil, true},
		{"a system for an officer gets what both may", identity(member.KindSystem, "team"), "bob", 3, nil, []string{"falcon"}, false},
		{"a system for an unknown officer is refused", identity(member.KindSystem, "team"), "zoe", 3, nil, nil, true},
		{"a node has no grants", identity(member.KindNode, ""), "", 3, nil, nil, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			asked := &ententev1.Consultation{Purpose: test.purpose, CaseReference: "C", Officer: test.officer, Scope: &ententev1.Scope{Projects: test.asked}}
			got, err := grants().Narrow(test.caller, asked)
			if test.refused {
				if !errors.Is(err, ErrNotGranted) {
					t.Fatalf("want refused, got %v, %v", got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.GetScope().GetProjects(), test.projects) {
				t.Errorf("want projects %v, got %v", test.projects, got.GetScope().GetProjects())
			}
			if test.caller.Kind == member.KindOfficer && got.GetOfficer() != test.caller.Name {
				t.Errorf("the officer is %q", got.GetOfficer())
			}
			if asked.GetOfficer() != test.officer || !slices.Equal(asked.GetScope().GetProjects(), test.asked) {
				t.Error("the question itself was changed")
			}
		})
	}
}
