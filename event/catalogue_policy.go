package event

// policyFields are those of a policy's violations.
var policyFields = []Info{
	pol("policy.name", "policy that forbids the act", func(p *Policy) *string { return &p.Name }),
	pol("policy.rule", "part of the policy: exec, egress, device, sysctl, models or private; signal: to Picket itself", func(p *Policy) *string { return &p.Rule }),
	pol("policy.action", "what became of the act: denied, killed (no instruction of the program ran) or seen", func(p *Policy) *string { return &p.Action }),
	pol("policy.rung", "hook of the kernel that stopped or saw it: cgroup/connect4, sched_process_exec…", func(p *Policy) *string { return &p.Rung }),
}

func (e *Event) policy() *Policy {
	if e.Policy == nil {
		e.Policy = new(Policy)
	}
	return e.Policy
}

func pol(name, doc string, member func(*Policy) *string) Info {
	return part(name, "", doc, func(e *Event) *Policy { return e.Policy }, (*Event).policy, member)
}
