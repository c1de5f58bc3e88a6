package event

// policyFields are those of a policy's violations.
var policyFields = []Info{
	pol("policy.name", "policy that forbids the act", func(p *Policy) *string { return &p.Name }),
	pol("policy.rule", "part of the policy: exec, egress, device, sysctl or models", func(p *Policy) *string { return &p.Rule }),
	pol("policy.action", "what became of the act: denied, killed (no instruction of the program ran) or seen", func(p *Policy) *string { return &p.Action }),
	pol("policy.rung", "hook of the kernel that stopped or saw it: cgroup/connect4, sched_process_exec…", func(p *Policy) *string { return &p.Rung }),
}

func pol(name, doc string, member func(*Policy) *string) Info {
	return top(name, "", Text, doc,
		func(e *Event) Value {
			if e.Policy == nil {
				return Value{}
			}
			return text(*member(e.Policy))
		},
		func(e *Event, s string) error {
			if e.Policy == nil {
				e.Policy = new(Policy)
			}
			*member(e.Policy) = s
			return nil
		})
}
