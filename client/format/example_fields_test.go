package format_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
)

// TestTheScenarioMappingPutsEachColumnWhereItBelongs looks at every field of one row of each type.
func TestTheScenarioMappingPutsEachColumnWhereItBelongs(t *testing.T) {
	tests := []struct {
		name, row string
		want      []string
	}{
		{"a person", `{"t":"entity","id":"XD-P1","kind":"person","version":2,"names":[{"given":"Дамир","family":"Орвел","type":"primary"},{"given":"Damir","family":"Orvel","type":"alias"}],"sex":"m","dob":"1960","nationality":"XB","role":"organiser","status":"arrested","crime":"weapons","grade":"D3","asserted":"2024-08-25","release":["XB"],"documents":[{"type":"passport","number":"K1"}],"phones":["+9991","+9992"],"town":"Town-1","image_hash":"` + strings.Repeat("0f", 32) + `"}`, []string{
			`type:NAME_TYPE_PRIMARY family:"Орвел" given:"Дамир" script:"Cyrl"`,
			`type:NAME_TYPE_ALIAS family:"Orvel" given:"Damir"}`,
			`status:PERSON_STATUS_SUSPECT circumstance:PERSON_CIRCUMSTANCE_DETAINED sex:SEX_MALE`,
			`dates_of_birth:{year:1960 precision:DATE_PRECISION_YEAR}`, `nationalities:"XB"`,
			`documents:{type:DOCUMENT_TYPE_PASSPORT number:"K1" issuing_country:"XX"}`,
			`communication:{type:MEANS_OF_COMMUNICATION_TYPE_PHONE value:"+9991"} communication:{type:MEANS_OF_COMMUNICATION_TYPE_PHONE value:"+9992"}`,
			`residences:{locality:"Town-1"}`, `perceptual_hash_algorithm:PERCEPTUAL_HASH_ALGORITHM_PDQ perceptual_hash_quality:100`,
			`evaluation:{scheme:EVALUATION_SCHEME_6X6 source_code:"D" information_code:"3"}`, `handling:{codes:HANDLING_CODE_H0}`,
			`provider_member:"XA" provider_reference:"XD-P1" version:2`, `crime_areas:CRIME_AREA_WEAPONS`,
			`role:{person:{provider_reference:"XD-P1"} functional_role:FUNCTIONAL_ROLE_ORGANISER crime_areas:CRIME_AREA_WEAPONS certainty:CERTAINTY_SUSPECTED}`,
			`assertion:ASSERTION_KIND_ASSESSMENT`, `audiences:{members:{members:"XB"}} replace_audiences:true`,
		}},
		{"kinship", `{"t":"relation","id":"R1","version":1,"kind":"kinship","from":"A","to":"B","weight":7,"grade":"A1","asserted":"2024-07-24","release":["*"]}`, []string{
			`association:{from:{provider_reference:"A"} to:{provider_reference:"B"} kind:ASSOCIATION_KIND_RELATED_TO direction:ASSOCIATION_DIRECTION_MUTUAL ties:{basis:TIE_BASIS_KINSHIP} count:7}`,
			`all_members:{}`,
		}},
		{"a payment, which has a direction and no tie", `{"t":"relation","id":"R1","version":1,"kind":"payment","from":"A","to":"B","weight":7,"grade":"A1","asserted":"2024-07-24","release":["*"]}`, []string{
			`kind:ASSOCIATION_KIND_PAYS direction:ASSOCIATION_DIRECTION_FORWARD count:7}`,
		}},
		{"a lesson", `{"t":"lesson","id":"L1","version":1,"crime":"counterfeiting","title":"T","text":"X","release":["*"]}`, []string{
			`stage:LESSON_STAGE_OBSERVATION`, `title:"T" crime_areas:CRIME_AREA_ILLICIT_GOODS language:"en"`, `observation:"X"`,
			`sanitised:true`, `all_members:{include_future:true}`,
		}},
		{"a practice", `{"t":"practice","id":"L2","version":1,"crime":"weapons","title":"T","text":"X","release":["*"]}`, []string{
			`good_practice:{state:LESSON_STATE_VALIDATED`, `description:"X"`, `assertion:ASSERTION_KIND_ASSESSMENT`,
		}},
		{"a purge", `{"t":"purge","id":"P1","version":2,"reason":"retention"}`, []string{
			`withdrawal:{provider_reference:"P1" version:2 reason:WITHDRAWAL_REASON_RETENTION}`,
		}},
	}
	m := readMapping(t, "scenario.yaml")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			row := read(t, m, tt.row)[0]
			if row.Err != nil {
				t.Fatal(row.Err)
			}
			validate(t, row)
			var all strings.Builder
			for _, item := range row.Items {
				// The text form puts a random second space between fields, so that nobody relies on it.
				all.WriteString(strings.Join(strings.Fields(prototext.MarshalOptions{}.Format(item)), " ") + "\n")
			}
			for _, want := range tt.want {
				if !strings.Contains(all.String(), want) {
					t.Errorf("lacks %s\ngot %s", want, all.String())
				}
			}
		})
	}
}
