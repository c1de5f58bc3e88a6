package event

// kubernetesFields are those of a request to the API server of a cluster. Sigma's rules about
// product kubernetes, service audit name the fields of the log.
var kubernetesFields = []Info{
	kubeText("kubernetes.audit_id", "auditID", "identity of the request in the audit log", func(k *Kubernetes) *string { return &k.AuditID }),
	kubeText("kubernetes.stage", "stage", "ResponseComplete, ResponseStarted (of what goes on, such as exec) or Panic", func(k *Kubernetes) *string { return &k.Stage }),
	kubeText("kubernetes.verb", "verb", "create, update, patch, delete, get, list, watch…", func(k *Kubernetes) *string { return &k.Verb }),
	kubeText("kubernetes.uri", "requestURI", "path that was asked for, with the names of the query's parameters and, of exec, the program", func(k *Kubernetes) *string { return &k.URI }),
	kubeText("kubernetes.user", "user.username", "who asked", func(k *Kubernetes) *string { return &k.User }),
	kubeText("kubernetes.impersonated", "impersonatedUser.username", "in whose name was asked", func(k *Kubernetes) *string { return &k.Impersonated }),
	kubeText("kubernetes.groups", "user.groups", "groups of who asked, each with a semicolon behind it", func(k *Kubernetes) *string { return &k.Groups }),
	kubeText("kubernetes.source.ip", "sourceIPs", "address that the request came from", func(k *Kubernetes) *string { return &k.Source }),
	kubeText("kubernetes.user_agent", "userAgent", "program that the client says it is", func(k *Kubernetes) *string { return &k.UserAgent }),
	kubeText("kubernetes.api_group", "objectRef.apiGroup", "group of the API; absent for the core group", func(k *Kubernetes) *string { return &k.APIGroup }),
	derived(kubeText("", "apiGroup", "as objectRef.apiGroup: some rules call it so", func(k *Kubernetes) *string { return &k.APIGroup }), "kubernetes.api_group"),
	kubeText("kubernetes.resource", "objectRef.resource", "kind of object, as the API names it: pods, secrets…", func(k *Kubernetes) *string { return &k.Resource }),
	kubeText("kubernetes.subresource", "objectRef.subresource", "part of the object: exec, attach, portforward, ephemeralcontainers…", func(k *Kubernetes) *string { return &k.Subresource }),
	kubeText("kubernetes.namespace", "objectRef.namespace", "namespace of the object", func(k *Kubernetes) *string { return &k.Namespace }),
	kubeText("kubernetes.name", "objectRef.name", "name of the object", func(k *Kubernetes) *string { return &k.Name }),
	kubeNumber("kubernetes.status", "responseStatus.code", "status of the answer", func(k *Kubernetes) *Measure { return &k.Status }),
	kubeText("kubernetes.decision", "", "allow or forbid, as the cluster's authorizer decided", func(k *Kubernetes) *string { return &k.Decision }),
	kubeText("kubernetes.images", "", "images of the object's containers, each with a semicolon behind it", func(k *Kubernetes) *string { return &k.Images }),
	kubeText("kubernetes.host_paths", "hostPath", "paths of the node that the object's pods mount, each with a semicolon behind it", func(k *Kubernetes) *string { return &k.HostPaths }),
	kubeText("kubernetes.capabilities", "capabilities", "capabilities that its containers add, each with a semicolon behind it", func(k *Kubernetes) *string { return &k.Capabilities }),
	kubeText("kubernetes.claims", "", "claims for volumes that its pods mount, each with a semicolon behind it", func(k *Kubernetes) *string { return &k.Claims }),
	kubeText("kubernetes.service_account", "", "service account of its pods", func(k *Kubernetes) *string { return &k.ServiceAccount }),
	kubeNumber("kubernetes.gpus", "", "GPUs that one of its pods asks for", func(k *Kubernetes) *Measure { return &k.GPUs }),
	kubeText("kubernetes.reach", "", "how its pods get at their node, each with a semicolon behind it: privileged, device, kubelet, runtime, root, capability, host-pid, host-ipc, host-network", func(k *Kubernetes) *string { return &k.Reach }),
	kubeText("kubernetes.engine", "", "AI engine that runs in the object, by its image or name", func(k *Kubernetes) *string { return &k.Engine }),
	kubeText("kubernetes.volume", "", "what a snapshot, claim or volume is made of: a claim, a snapshot, or a handle of the storage", func(k *Kubernetes) *string { return &k.Volume }),
	kubeText("kubernetes.volume_owner", "", "namespace of kubernetes.volume, where it is another than the object's", func(k *Kubernetes) *string { return &k.VolumeOwner }),
	kubeText("kubernetes.unusual", "", "what was never asked for before, each with a semicolon behind it: gpu-user, gpu-namespace", func(k *Kubernetes) *string { return &k.Unusual }),
}

func (e *Event) kubernetes() *Kubernetes {
	if e.Kubernetes == nil {
		e.Kubernetes = new(Kubernetes)
	}
	return e.Kubernetes
}

func kubeText(name, sigma, doc string, member func(*Kubernetes) *string) Info {
	return part(name, sigma, doc, func(e *Event) *Kubernetes { return e.Kubernetes }, (*Event).kubernetes, member)
}

func kubeNumber(name, sigma, doc string, member func(*Kubernetes) *Measure) Info {
	return top(name, sigma, Integer, doc,
		func(e *Event) Value {
			if e.Kubernetes == nil {
				return Value{}
			}
			return member(e.Kubernetes).value()
		},
		func(e *Event, s string) error { return member(e.kubernetes()).set(s) })
}
