package lab

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"picket/api"
)

func TestNewestReadsPagesUntilTheyAreOlder(t *testing.T) {
	pages := map[string]api.List[int64]{
		"":  {Items: []int64{9, 8}, Next: "8"},
		"8": {Items: []int64{7, 6}, Next: "6"},
		"6": {Items: []int64{5}},
	}
	at := func(n int64) time.Time { return time.Unix(n, 0) }
	for since, want := range map[int64][]int64{0: {9, 8, 7, 6, 5}, 6: {9, 8, 7, 6}, 7: {9, 8, 7}, 10: nil} {
		got, err := newest(at(since), at, func(before string) (api.List[int64], error) { return pages[before], nil })
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("since %d: %v %s", since, err, diff)
		}
	}
	reads := 0
	got, err := newest(at(0), at, func(string) (api.List[int64], error) {
		reads++
		return api.List[int64]{Items: []int64{1}, Next: strconv.Itoa(reads)}, nil
	})
	if err != nil || len(got) != mostRead {
		t.Errorf("without end: %d read, %v", len(got), err)
	}
	broken := errors.New("away")
	if _, err := newest(at(0), at, func(string) (api.List[int64], error) { return api.List[int64]{}, broken }); !errors.Is(err, broken) {
		t.Errorf("an error is lost: %v", err)
	}
}
