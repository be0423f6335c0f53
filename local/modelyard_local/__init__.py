"""The local cluster: a real one-node Kubernetes, built from Go modules, in namespaces of its own."""
