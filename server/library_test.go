package server_test

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/stream"
)

type (
	libraryList   = ententev1.LibraryServiceListRequest
	libraryClient = ententev1.LibraryServiceClient
)

// about makes a practice to which edit gives its context, state and endorsements.
func about(reference string, edit func(*ententev1.GoodPractice), audiences ...*ententev1.Audience) *ententev1.PushItem {
	made := practice(reference, audiences...)
	p := made.GetRecord().GetBody().GetGoodPractice()
	p.Context.Title = reference
	edit(p)
	return made
}

// lesson makes a lesson with a context that edit may change.
func lesson(reference string, edit func(*ententev1.Lesson), audiences ...*ententev1.Audience) *ententev1.PushItem {
	record := personRecord(reference, 1)
	record.CrimeAreas = nil
	l := &ententev1.Lesson{
		Stage: ententev1.LessonStage_LESSON_STAGE_OBSERVATION, State: ententev1.LessonState_LESSON_STATE_OBSERVATION,
		Context: &ententev1.LessonContext{Title: reference}, Tlp: ententev1.Tlp_TLP_GREEN, Sanitised: true, Observation: "what was seen",
	}
	edit(l)
	record.Body = &ententev1.Body{Kind: &ententev1.Body_Lesson{Lesson: l}}
	return item(record, audiences...)
}

func endorsedBy(members ...string) []*ententev1.Endorsement {
	var list []*ententev1.Endorsement
	for _, m := range members {
		list = append(list, &ententev1.Endorsement{Member: m})
	}
	return list
}

// foreign is a practice of XB as XA receives it.
func foreign(t testing.TB, number byte, project string, edit func(*ententev1.GoodPractice)) []byte {
	t.Helper()
	body := &ententev1.GoodPractice{Context: &ententev1.LessonContext{}, State: ententev1.LessonState_LESSON_STATE_IMPLEMENTED}
	edit(body)
	encoded, err := proto.Marshal(&ententev1.ReleasedRecord{
		RecordId: []byte{number, 15: 0}, Envelope: foreignEnvelope(project),
		Body: &ententev1.Body{Kind: &ententev1.Body_GoodPractice{GoodPractice: body}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

// shelf is a node of XA with practices and lessons of its own and of XB.
func shelf(t *testing.T) *node {
	w := newWorld(t)
	n := w.start("XA")
	n.receive(ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS, "",
		foreign(t, 9, "", func(p *ententev1.GoodPractice) {
			p.Context = &ententev1.LessonContext{Title: "xb gates", Countries: []string{"XD"}, Language: "fr-CA"}
			p.Endorsements = endorsedBy("XA", "XC", "XB")
		}),
		foreign(t, 10, "", func(p *ententev1.GoodPractice) {
			p.Context = &ententev1.LessonContext{Title: "xb seals", Language: "fra"}
			p.Endorsements = endorsedBy("XB", "XC", "XC")
		}))
	pushAll(t, n.system("registry"),
		about("weighing", func(p *ententev1.GoodPractice) {
			p.Context.GroupStructures = []ententev1.GroupStructure{ententev1.GroupStructure_GROUP_STRUCTURE_CORE_GROUP}
			p.Context.Countries, p.Context.Language = []string{"XA", "XC"}, "en"
			p.Endorsements = endorsedBy("XB")
		}, toAll()),
		about("ledgers", func(p *ententev1.GoodPractice) {
			p.Context.CrimeAreas = []ententev1.CrimeArea{ententev1.CrimeArea_CRIME_AREA_CORRUPTION}
			p.Context.Language, p.State = "FR", ententev1.LessonState_LESSON_STATE_ARCHIVED
		}, toProject("harbour")),
		lesson("too late", func(l *ententev1.Lesson) {
			l.Context.GroupStructures = []ententev1.GroupStructure{ententev1.GroupStructure_GROUP_STRUCTURE_CRIMINAL_NETWORK}
			l.Context.Language = "fr-latn-CA"
		}))
	return n
}

// titles lists page by page.
func titles(t testing.TB, client libraryClient, request *libraryList) []string {
	t.Helper()
	request = proto.CloneOf(request)
	request.Consultation = asking()
	var list []string
	for {
		page, err := client.List(patient(t), request)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range page.GetItems() {
			body := one.GetRecord().GetBody()
			list = append(list, body.GetGoodPractice().GetContext().GetTitle()+body.GetLesson().GetContext().GetTitle())
		}
		request.PageToken = page.GetNextPageToken()
		if len(request.PageToken) == 0 {
			return list
		}
	}
}

func TestTheLibraryIsFilteredByEachFieldAndPagesStayWhole(t *testing.T) {
	client := ententev1.NewLibraryServiceClient(shelf(t).officer("ann"))
	for _, test := range []struct {
		name    string
		request *libraryList
		want    string
	}{
		{"no filter brings all, newest first", &libraryList{}, "too late, ledgers, weighing, xb seals, xb gates"},
		{"lessons only", &libraryList{Kinds: []ententev1.RecordKind{ententev1.RecordKind_RECORD_KIND_LESSON}}, "too late"},
		{"a crime area of the record", &libraryList{CrimeAreas: []ententev1.CrimeArea{ententev1.CrimeArea_CRIME_AREA_DRUGS}}, "ledgers, weighing"},
		{"a crime area of its context", &libraryList{CrimeAreas: []ententev1.CrimeArea{ententev1.CrimeArea_CRIME_AREA_CORRUPTION}}, "ledgers"},
		{"a project", &libraryList{Projects: []string{"other", "harbour"}}, "ledgers"},
		{"a project that is not known", &libraryList{Projects: []string{"other"}}, ""},
		{"either of two structures", &libraryList{GroupStructures: []ententev1.GroupStructure{ententev1.GroupStructure_GROUP_STRUCTURE_CORE_GROUP, ententev1.GroupStructure_GROUP_STRUCTURE_CRIMINAL_NETWORK}}, "too late, weighing"},
		{"a structure of a later version", &libraryList{GroupStructures: []ententev1.GroupStructure{77}}, ""},
		{"a country, whatever the case", &libraryList{Countries: []string{"xc", "XD"}}, "weighing, xb gates"},
		{"a language means its regions and scripts, and no other language", &libraryList{Languages: []string{"fr"}}, "too late, ledgers, xb gates"},
		{"a region of a language", &libraryList{Languages: []string{"FR-ca"}}, "xb gates"},
		{"a part of a subtag is none", &libraryList{Languages: []string{"fr-c"}}, ""},
		{"a state", &libraryList{States: []ententev1.LessonState{ententev1.LessonState_LESSON_STATE_ARCHIVED, ententev1.LessonState_LESSON_STATE_OBSERVATION}}, "too late, ledgers"},
		{"an owner", &libraryList{Owners: []string{"XB"}}, "xb seals, xb gates"},
		{"one endorsement, the owner's own left out", &libraryList{Endorsements: 1}, "weighing, xb seals, xb gates"},
		{"two endorsements, nobody counted twice", &libraryList{Endorsements: 2}, "xb gates"},
		{"several filters at once", &libraryList{Languages: []string{"fr"}, Owners: []string{"XA"}, CrimeAreas: []ententev1.CrimeArea{ententev1.CrimeArea_CRIME_AREA_DRUGS}}, "ledgers"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, size := range []uint32{0, 1, 2} {
				test.request.PageSize = size
				got := strings.Join(titles(t, client, test.request), ", ")
				if got != test.want {
					t.Errorf("by %d a page: %q, want %q", size, got, test.want)
				}
			}
		})
	}
}

func TestALibraryFilterThatMeansNothingIsRefused(t *testing.T) {
	client := ententev1.NewLibraryServiceClient(shelf(t).officer("ann"))
	for name, request := range map[string]*libraryList{
		"a kind that is neither":    {Kinds: []ententev1.RecordKind{ententev1.RecordKind_RECORD_KIND_PERSON}},
		"an empty project":          {Projects: []string{""}},
		"an empty country":          {Countries: []string{"XA", ""}},
		"an empty language":         {Languages: []string{""}},
		"an owner that is no name":  {Owners: []string{"xb!"}},
		"more countries than 64":    {Countries: slices.Repeat([]string{"XA"}, 65)},
		"a token that is not sound": {PageToken: []byte("token")},
	} {
		request.Consultation = asking()
		_, err := client.List(patient(t), request)
		if err == nil || strings.Contains(err.Error(), "xb!") {
			t.Errorf("%s: %v", name, err)
			continue
		}
		wantCode(t, err, codes.InvalidArgument)
	}
}

// A token is good for the same request only: with any other filter it would be the place in another list.
func TestALibraryTokenIsBoundToEveryFilter(t *testing.T) {
	client := ententev1.NewLibraryServiceClient(shelf(t).officer("ann"))
	first := &libraryList{Consultation: asking(), PageSize: 1}
	page, err := client.List(patient(t), first)
	if err != nil {
		t.Fatal(err)
	}
	first.PageToken = page.GetNextPageToken()
	for name, edit := range map[string]func(*libraryList){
		"kinds":        func(r *libraryList) { r.Kinds = []ententev1.RecordKind{ententev1.RecordKind_RECORD_KIND_LESSON} },
		"crime areas":  func(r *libraryList) { r.CrimeAreas = []ententev1.CrimeArea{1} },
		"projects":     func(r *libraryList) { r.Projects = []string{"harbour"} },
		"structures":   func(r *libraryList) { r.GroupStructures = []ententev1.GroupStructure{1} },
		"countries":    func(r *libraryList) { r.Countries = []string{"XA"} },
		"languages":    func(r *libraryList) { r.Languages = []string{"XA"} },
		"states":       func(r *libraryList) { r.States = []ententev1.LessonState{1} },
		"owners":       func(r *libraryList) { r.Owners = []string{"XA"} },
		"endorsements": func(r *libraryList) { r.Endorsements = 1 },
		"scope":        func(r *libraryList) { r.Consultation.Scope = &ententev1.Scope{Projects: []string{"harbour"}} },
	} {
		other := proto.CloneOf(first)
		edit(other)
		_, err := client.List(patient(t), other)
		if err == nil {
			t.Errorf("%s: the token of another list was taken", name)
			continue
		}
		wantCode(t, err, codes.InvalidArgument)
	}
	_, err = client.List(patient(t), first)
	if err != nil {
		t.Errorf("the same request: %v", err)
	}
}

// What an officer may not see makes no page longer, shorter or one more, whatever is asked for.
func TestLibraryPagesAreTheSameWhetherOrNotHiddenRecordsExist(t *testing.T) {
	list := func(hidden bool) [][]string {
		w := newWorld(t)
		n := w.start("XA")
		pushAll(t, n.system("registry"), about("one", func(*ententev1.GoodPractice) {}, toAll()))
		if hidden {
			n.receive(ententev1.StreamKind_STREAM_KIND_PROJECT, "other",
				foreign(t, 9, "other", func(p *ententev1.GoodPractice) { p.Context.Title = "hidden" }),
				foreign(t, 10, "other", func(p *ententev1.GoodPractice) { p.Context.Title = "hidden too" }))
		}
		pushAll(t, n.system("registry"), about("two", func(*ententev1.GoodPractice) {}, toProject("harbour")),
			about("three", func(p *ententev1.GoodPractice) { p.Endorsements = endorsedBy("XB") }, toAll()))
		client := ententev1.NewLibraryServiceClient(n.officer("bob"))
		var pages [][]string
		for _, request := range []*libraryList{{}, {Projects: []string{"other"}}, {Owners: []string{"XB"}}, {Endorsements: 1}} {
			for _, size := range []uint32{1, 2, 3} {
				request.PageSize = size
				request.Consultation, request.PageToken = asking(), nil
				for {
					page, err := client.List(patient(t), request)
					w.must(err)
					var names []string
					for _, one := range page.GetItems() {
						names = append(names, one.GetRecord().GetBody().GetGoodPractice().GetContext().GetTitle())
					}
					pages = append(pages, names)
					request.PageToken = page.GetNextPageToken()
					if len(request.PageToken) == 0 {
						break
					}
				}
			}
		}
		return pages
	}
	without, with := list(false), list(true)
	if !slices.EqualFunc(without, with, slices.Equal) {
		t.Errorf("without: %q\nwith:    %q", without, with)
	}
	if len(without) < 9 {
		t.Errorf("%d pages show nothing", len(without))
	}
}

// A practice that came under a project of the caller's and under another is shown in the form of the caller's project,
// whichever came first: that it was released elsewhere too is nothing to tell.
func TestAPracticeOfTwoProjectsIsShownByTheOneThatTheCallerMaySee(t *testing.T) {
	for name, order := range map[string][]string{"first": {"harbour", "other"}, "last": {"other", "harbour"}} {
		t.Run("the caller's "+name, func(t *testing.T) {
			w := newWorld(t)
			n := w.start("XA")
			for i, project := range order {
				n.receiveAs(stream.ID{1, 2, byte(i)}, ententev1.StreamKind_STREAM_KIND_PROJECT, project,
					foreign(t, 9, project, func(p *ententev1.GoodPractice) { p.Context.Title = "under " + project }))
			}
			client := ententev1.NewLibraryServiceClient(n.officer("bob"))
			for _, request := range []*libraryList{{}, {Projects: []string{"harbour"}}} {
				if got := titles(t, client, request); !slices.Equal(got, []string{"under harbour"}) {
					t.Errorf("%v lists %q", request, got)
				}
			}
			if got := titles(t, client, &libraryList{Projects: []string{"other"}}); len(got) != 0 {
				t.Errorf("by the other project: %q", got)
			}
			all := ententev1.NewLibraryServiceClient(n.officer("ann"))
			if got := titles(t, all, &libraryList{Projects: []string{"other"}}); !slices.Equal(got, []string{"under other"}) {
				t.Errorf("who may see both, by the other: %q", got)
			}
		})
	}
}
