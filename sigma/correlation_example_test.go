package sigma_test

import (
	"fmt"
	"time"

	"picket/sigma"
)

func ExampleCorrelator() {
	rules, err := sigma.Parse("guess.yml", []byte(`
name: login_failed
logsource: {service: sshd}
detection: {failed: {action: failed}, condition: failed}
---
title: Many users tried from one address
name: spraying
level: high
correlation:
  type: value_count
  rules: [login_failed]
  group-by: [address]
  timespan: 1m
  condition: {field: user, gte: 3}
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	engine, err := sigma.Compile(rules.Rules, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	correlator, err := sigma.NewCorrelator(rules.Rules, rules.Correlations, sigma.CorrelatorOptions[string]{
		Token: func(ev sigma.Event, _ *sigma.Rule) string { return ev.Extra("user").Str },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	start := time.Date(2026, 1, 1, 8, 0, 0, 0, time.UTC)
	for i, user := range []string{"ann", "bob", "ann", "Bob", "eve"} {
		ev := event(map[string]any{"action": "failed", "address": "192.0.2.7", "user": user})
		ev.sources = []sigma.Logsource{{Service: "sshd"}}
		seen := sigma.Observation{Event: ev, Time: start.Add(time.Duration(i) * time.Second)}
		engine.Match(ev, func(r *sigma.Rule) { seen.Rules = append(seen.Rules, r) })
		correlator.Observe(seen, func(f *sigma.Firing[string]) {
			fmt.Println(f.Time.Format(time.TimeOnly), f.Correlation.Title, f.Group, f.Figure)
			for _, c := range f.Contributors {
				fmt.Print(c.Token, " ")
			}
		})
	}
	// Output:
	// 08:00:04 Many users tried from one address [192.0.2.7] 3
	// ann bob ann Bob eve
}

func ExampleCorrelator_Advance() {
	rules, _ := sigma.Parse("backup.yml", []byte(`
name: saved
logsource: {}
detection: {saved: {action: saved}, condition: saved}
---
title: A backup that saved little
correlation:
  type: value_sum
  rules: [saved]
  timespan: 1h
  condition: {field: files, lt: 100}
`))
	correlator, _ := sigma.NewCorrelator(rules.Rules, rules.Correlations, sigma.CorrelatorOptions[int]{})
	start := time.Date(2026, 1, 1, 8, 0, 0, 0, time.UTC)
	fire := func(f *sigma.Firing[int]) { fmt.Println(f.Correlation.Title, f.Figure) }
	correlator.Observe(sigma.Observation{Event: event(map[string]any{"files": 12}), Time: start, Rules: rules.Rules}, fire)
	correlator.Observe(sigma.Observation{Event: event(map[string]any{"files": 30}), Time: start.Add(time.Minute), Rules: rules.Rules}, fire)
	fmt.Println("nothing is known before the window closes")
	correlator.Advance(start.Add(2*time.Hour), fire)
	// Output:
	// nothing is known before the window closes
	// A backup that saved little 42
}

func ExampleOptions_Compile_filter() {
	all, _ := sigma.Parse("rules.yml", []byte(`
title: Shell
name: shell
logsource: {category: process_creation, product: linux}
detection: {shell: {Image|endswith: /sh}, condition: shell}
---
title: The nightly build starts shells
logsource: {category: process_creation, product: linux}
reason: builds run as ci
filter:
  rules: [shell]
  build: {User: ci}
  condition: build
`))
	engine, _ := sigma.Options{Filters: all.Filters}.Compile(all.Rules, schema)
	for _, user := range []string{"ci", "eve"} {
		engine.Match(event(map[string]any{"Image": "/bin/sh", "User": user}), func(r *sigma.Rule) { fmt.Println(user, r.Title) })
	}
	for _, s := range engine.Suppressions() {
		fmt.Println("hidden:", s.Count, "of", s.Rule.Title, "because", s.Filter.Reason)
	}
	// Output:
	// eve Shell
	// hidden: 1 of Shell because builds run as ci
}
