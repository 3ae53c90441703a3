package jsonobject

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func mustParse(t *testing.T, source string) Object {
	t.Helper()
	object, err := Parse([]byte(source))
	if err != nil {
		t.Fatalf("%s: %v", source, err)
	}
	return object
}

func TestOnlyOneObjectWithoutRepeatedNamesIsParsed(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]error{
		`{}`: nil, " {\n\"a\" : [ 1 , {\"b\":\"}\"} ] } ": nil, `{"Sub":1,"sub":2}`: nil,
		``: errNotObject, `null`: errNotObject, `[]`: errNotObject, `"a"`: errNotObject, `7`: errNotObject, `{}{}`: errNotObject, `{} x`: errNotObject, `{"a":1,}`: errNotObject, `{a:1}`: errNotObject,
		`{"a":1,"a":1}`: errMemberTwice, `{"a":1,"\u0061":2}`: errMemberTwice,
	} {
		if _, err := Parse([]byte(source)); !errors.Is(err, want) {
			t.Errorf("%s: got the error %v, want %v", source, err, want)
		}
	}
}

func TestMembersAreReadOnlyInTheTypeThatIsAskedFor(t *testing.T) {
	t.Parallel()
	for member, want := range map[string]struct {
		text    string
		isText  bool
		texts   []string
		isTexts bool
		either  []string
		isTrue  bool
	}{
		`"a"`:             {text: "a", isText: true, either: []string{"a"}},
		`""`:              {isText: true, either: []string{""}},
		`"\u00e4\n"`:      {text: "ä\n", isText: true, either: []string{"ä\n"}},
		`"ä"`:             {text: "ä", isText: true, either: []string{"ä"}},
		"\"\xff\"":        {text: "\ufffd", isText: true, either: []string{"\ufffd"}},
		`null`:            {},
		`7`:               {},
		`true`:            {isTrue: true},
		`"true"`:          {text: "true", isText: true, either: []string{"true"}},
		`{}`:              {},
		`[]`:              {texts: []string{}, isTexts: true},
		`[ "a" , "]" ]`:   {texts: []string{"a", "]"}, isTexts: true, either: []string{"a", "]"}},
		`["\"", "ä"]`:     {texts: []string{`"`, "ä"}, isTexts: true, either: []string{`"`, "ä"}},
		`["a",null]`:      {},
		`["a",["b"]]`:     {},
		`["a",1]`:         {},
		`[["a"]]`:         {},
		`[{"a":"b"},"c"]`: {},
	} {
		object := mustParse(t, `{"m":`+member+`}`)
		if got := object.Text("m"); got != want.text {
			t.Errorf("%s: Text is %q, want %q", member, got, want.text)
		}
		if got, isThere, ok := object.OptionalText("m"); got != want.text || !isThere || ok != want.isText {
			t.Errorf("%s: OptionalText is %q, %t, %t, want %q, true, %t", member, got, isThere, ok, want.text, want.isText)
		}
		if got, ok := object.Texts("m"); ok != want.isTexts || !slices.Equal(got, want.texts) {
			t.Errorf("%s: Texts are %q, %t, want %q, %t", member, got, ok, want.texts, want.isTexts)
		}
		if got, ok := object.TextOrTexts("m"); ok != (want.either != nil) || (ok && !slices.Equal(got, want.either)) {
			t.Errorf("%s: TextOrTexts are %q, %t, want %q", member, got, ok, want.either)
		}
		if got := object.IsTrue("m"); got != want.isTrue {
			t.Errorf("%s: IsTrue is %t, want %t", member, got, want.isTrue)
		}
	}
}

func TestAnAbsentMemberIsToldFromANullOne(t *testing.T) {
	t.Parallel()
	object := mustParse(t, `{"null":null}`)
	if !object.Has("null") || object.Has("absent") || object.Has("Null") {
		t.Error("Has does not tell absent from null, or minds no case")
	}
	if string(object.Member("null")) != "null" || object.Member("absent") != nil {
		t.Errorf("members are %q and %q, want null and nothing", object.Member("null"), object.Member("absent"))
	}
	if text, isThere, ok := object.OptionalText("absent"); text != "" || isThere || !ok {
		t.Errorf("OptionalText of an absent member is %q, %t, %t, want \"\", false, true", text, isThere, ok)
	}
	value := "before"
	if Fill(object, "absent", &value); value != "before" {
		t.Errorf("an absent member fills in %q", value)
	}
	if Fill(mustParse(t, `{"m":1}`), "m", &value); value != "before" {
		t.Errorf("a number fills in %q", value)
	}
	if Fill(mustParse(t, `{"m":"after"}`), "m", &value); value != "after" {
		t.Errorf("a string fills in %q, want \"after\"", value)
	}
	if (Object{}).Has("a") || (Object{}).Source() != nil {
		t.Error("the zero value has members")
	}
}

func TestTimesOutsideOfWhatArithmeticSurvivesAreNone(t *testing.T) {
	t.Parallel()
	for member, want := range map[string]time.Time{
		"1800000000": time.Unix(1_800_000_000, 0), "1800000000.5": time.Unix(1_800_000_000, 500_000_000), "1.8e9": time.Unix(1_800_000_000, 0),
		"253402300799": time.Unix(253402300799, 0), "253402300800": {}, "1e300": {}, "1e400": {}, "0": {}, "-1": {}, `"1800000000"`: {}, "null": {}, "true": {}, "[]": {},
	} {
		got, ok := mustParse(t, `{"m":`+member+`}`).Seconds("m")
		if ok == want.IsZero() || !got.Equal(want) {
			t.Errorf("%s: Seconds is %v, %t, want %v", member, got, ok, want)
		}
	}
	for member, want := range map[string]time.Time{
		"1800000000123": time.UnixMilli(1_800_000_000_123), "253402300799001": {}, "1e12": {}, "0": {}, "-1": {}, `"1"`: {}, "null": {},
	} {
		if got := mustParse(t, `{"m":`+member+`}`).Milliseconds("m"); !got.Equal(want) {
			t.Errorf("%s: Milliseconds is %v, want %v", member, got, want)
		}
	}
}

// pair has the fields that the tests of objects within objects read.
type pair struct {
	A string          `json:"aB,omitempty"`
	B json.RawMessage `json:"b"`
}

func TestAStructIsFilledByTheExactNamesOfItsTags(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]pair{
		`{"aB":"x","b":[1]}`:          {"x", json.RawMessage(`[1]`)},
		`{"ab":"x","AB":"y","B":[1]}`: {},
		`{"aB":7,"b":"y"}`:            {B: json.RawMessage(`"y"`)},
		`{"":"x","-":"y"}`:            {},
		`{}`:                          {},
	} {
		got := pair{"before", json.RawMessage(`before`)}
		if mustParse(t, source).FillStruct(&got); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", source, got, want)
		}
	}
}

func TestANullAmongObjectsMakesAMemberOfAnotherType(t *testing.T) {
	t.Parallel()
	for member, want := range map[string][]pair{
		`[]`: {}, `[{"aB":"x"},{}]`: {{A: "x"}, {}},
		`[{"aB":"x"},null]`: nil, `[null]`: nil, `[1]`: nil, `null`: nil, `{}`: nil, `"x"`: nil,
	} {
		if got := List[pair](mustParse(t, `{"m":`+member+`}`), "m"); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: List is %#v, want %#v", member, got, want)
		}
	}
	for member, want := range map[string]map[string]pair{
		`{}`: {}, `{"x":{"aB":"y"},"z":{}}`: {"x": {A: "y"}, "z": {}},
		`{"x":{},"z":null}`: nil, `{"x":1}`: nil, `null`: nil, `[]`: nil, `"x"`: nil,
	} {
		if got := Map[pair](mustParse(t, `{"m":`+member+`}`), "m"); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: Map is %#v, want %#v", member, got, want)
		}
	}
	if List[pair](Object{}, "m") != nil || Map[pair](Object{}, "m") != nil {
		t.Error("the zero value has members")
	}
}

func TestWhatIsWrittenIsReadAsTheSame(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_800_000_000, 987_654_321)
	for want, write := range map[string]func(w *Writer){
		`null`:                func(*Writer) {},
		`{"m":"x","n":7}`:     func(w *Writer) { w.Put("n", 7); w.Put("m", "x") },
		`{"empty":[]}`:        func(w *Writer) { w.Put("empty", []string{}); w.Put("none", []string(nil)); w.Put("", 0) },
		`{"m":1800000000}`:    func(w *Writer) { w.PutSeconds("m", at); w.PutSeconds("none", time.Time{}) },
		`{"m":1800000000987}`: func(w *Writer) { w.PutMilliseconds("m", at) },
		`{"m":"x"}`:           func(w *Writer) { w.PutTextOrTexts("m", []string{"x"}); w.PutTextOrTexts("none", nil) },
		`{"m":[""]}`:          func(w *Writer) { w.PutTextOrTexts("m", []string{""}) },
		`{"m":["x","y"]}`:     func(w *Writer) { w.PutTextOrTexts("m", []string{"x", "y"}) },
		`{"inner":{"m":"x"},"m":[]}`: func(w *Writer) {
			w.Put("inner", Writer{members: map[string]any{"m": "x"}})
			w.Put("m", []int{})
			w.Put("none", Writer{})
		},
	} {
		var w Writer
		write(&w)
		if got, err := json.Marshal(w); err != nil || string(got) != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
	for _, lost := range []time.Time{time.Unix(0, 0), time.Unix(-1, 0), time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)} {
		for _, put := range []func(*Writer, string, time.Time){(*Writer).PutSeconds, (*Writer).PutMilliseconds} {
			var w Writer
			if put(&w, "m", lost); w.err == nil {
				t.Errorf("%v would be read as none, and is written as %v", lost, w.members)
			}
		}
	}
}

// C98: whatever is parsed is what encoding/json reads, but for the case of names.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"iss":"i","sub":"u","aud":"app","exp":1800003600}`, `{"sub":null,"aud":[],"exp":"1"}`, `{"roles":["a",null],"organizations":{}}`, `{"a":[ ],"b":[ "x" , "y\\n","]" ],"c":["ä"],"d":["a",1],"e":["a",["b"]]}`,
		`{"Sub":"x","sub":"y","\u0073ub":"z"}`, `{"address":{"streetAddress":1},"created_at":-1}`, `{"exp":1e400}`, `{"a":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + `}`,
		`{"":"","a\"b":":","{":"}"}`, " {\n\"a\" : 1 ,\t\"b\":[ 1 , {\"c\":\"}\"} ] , \"\\u00e4\":-1.5e3,\"Ã¤Ã¤\":true , \"n\":null } ", `{"a":1,"\u0061":2}`, `{ }`, "{\"\xff\":1,\"\ufffd\":2}", `[]`, `null`, `{}x`, "{\"a\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		object, err := Parse(bytes.Clone(source))
		if err != nil {
			return
		}
		if !bytes.Equal(object.Source(), source) {
			t.Fatalf("%q comes back as %q", source, object.Source())
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(source, &members); err != nil || !reflect.DeepEqual(members, object.members) {
			t.Fatalf("%q has the members %q, want %q, %v", source, object.members, members, err)
		}
		for name, value := range members {
			var elements []*string
			isList := json.Unmarshal(value, &elements) == nil && elements != nil && !slices.Contains(elements, nil)
			list, ok := object.Texts(name)
			if ok != isList || (ok && len(list) != len(elements)) {
				t.Fatalf("%q: %s is the list %q", source, value, list)
			}
			for i, text := range list {
				if text != *elements[i] {
					t.Fatalf("%q: %s is the list %q", source, value, list)
				}
			}
			var text *string
			isText := json.Unmarshal(value, &text) == nil && text != nil
			if got, _, ok := object.OptionalText(name); ok != isText || (ok && got != *text) {
				t.Fatalf("%q: %s is the text %q, %t", source, value, got, ok)
			}
		}
	})
}
