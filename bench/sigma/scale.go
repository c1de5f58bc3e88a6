package main

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"picket/sigma"
)

// draws is how many sets of ten rules are measured: which ten it is makes more difference than
// anything else does.
const draws = 7

// scale prints how much slower 3,000 rules are than 10 of them, side by side: in each window the
// large set and each small one have their turn, and of the windows' ratios the median counts.
func scale(r *rand.Rand, rules []*sigma.Rule, evs []sigma.Event, windows int) error {
	large, err := matcher(unrouted(r, rules, 3000))
	if err != nil {
		return err
	}
	var small []func(sigma.Event)
	for range draws {
		match, err := matcher(unrouted(r, rules, 10))
		if err != nil {
			return err
		}
		small = append(small, match)
	}
	for _, match := range append(small, large) { // what is made once is made before
		for _, ev := range evs {
			match(ev)
		}
	}
	var ratios []float64
	rates := make([][]float64, draws)
	for range windows {
		of, _ := measure(evs, large)
		var tens []float64
		for i, match := range small {
			rate, _ := measure(evs, match)
			rates[i], tens = append(rates[i], rate), append(tens, rate)
		}
		ratios = append(ratios, median(tens)/of)
	}
	var each []float64
	for _, rate := range rates {
		each = append(each, median(rate))
	}
	slices.Sort(each)
	mid := median(ratios)
	fmt.Printf("\n10 to 3,000 rules: x%.1f slower (x%.1f to x%.1f in %d windows; limit x6). Ten rules, by draw, in millions/s:",
		mid, ratios[0], ratios[len(ratios)-1], windows)
	for _, rate := range each {
		fmt.Printf(" %.1f", rate/1e6)
	}
	fmt.Println()
	return nil
}

// matcher compiles rules into what is measured.
func matcher(rules []*sigma.Rule) (func(sigma.Event), error) {
	e, err := sigma.Compile(rules, schema)
	if err := onlyPlaceholders(err); err != nil {
		return nil, err
	}
	fired := 0
	return func(ev sigma.Event) { e.Match(ev, func(*sigma.Rule) { fired++ }) }, nil
}
