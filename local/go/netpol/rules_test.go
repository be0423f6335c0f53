package netpol

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func pod(name, namespace, address string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: map[string]string{"name": name}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080, Protocol: corev1.ProtocolTCP}},
		}}},
		Status: corev1.PodStatus{PodIP: address, Phase: corev1.PodRunning},
	}
}

func labelled(name string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"name": name}}
}

func policy(spec networkingv1.NetworkPolicySpec) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "a"}, Spec: spec}
}

func state(policies ...*networkingv1.NetworkPolicy) State {
	return State{
		Pods: []*corev1.Pod{pod("web", "a", "10.0.0.2"), pod("client", "a", "10.0.0.1"), pod("other", "b", "10.0.0.3")},
		Namespaces: []*corev1.Namespace{
			{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{"team": "a"}}},
			{ObjectMeta: metav1.ObjectMeta{Name: "b", Labels: map[string]string{"team": "b"}}},
		},
		Policies: policies,
	}
}

func expect(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(text, line) {
			t.Errorf("missing %q in\n%s", line, text)
		}
	}
}

func refuse(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if strings.Contains(text, line) {
			t.Errorf("unexpected %q in\n%s", line, text)
		}
	}
}

func TestWithoutPoliciesNobodyIsIsolated(t *testing.T) {
	refuse(t, Render(state()), "drop", "vmap")
}

func TestAPolicyWithoutRulesClosesOneSideOfThePodsItSelects(t *testing.T) {
	text := Render(state(policy(networkingv1.NetworkPolicySpec{
		PodSelector: *labelled("web"), PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
	})))
	expect(t, text, "chain in_10_0_0_2 {\n  ip saddr 10.0.0.2 return\n  counter drop", "ip daddr vmap { 10.0.0.2 : jump in_10_0_0_2 }")
	refuse(t, text, "chain out_", "in_10_0_0_1", "in_10_0_0_3")
}

func TestPeersAndPortsAreCombined(t *testing.T) {
	named, last := intstr.FromString("http"), int32(9010)
	text := Render(state(policy(networkingv1.NetworkPolicySpec{
		PodSelector: *labelled("web"),
		Ingress: []networkingv1.NetworkPolicyIngressRule{{
			From: []networkingv1.NetworkPolicyPeer{
				{PodSelector: labelled("client")},
				{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "b"}}},
				{IPBlock: &networkingv1.IPBlock{CIDR: "192.0.2.0/24", Except: []string{"192.0.2.7/32"}}},
			},
			Ports: []networkingv1.NetworkPolicyPort{
				{Port: &named},
				{Port: &intstr.IntOrString{IntVal: 9000}, EndPort: &last},
			},
		}},
	})))
	expect(t, text,
		"ip saddr 10.0.0.1 tcp dport 8080 return",
		"ip saddr 10.0.0.1 tcp dport 9000-9010 return",
		"ip saddr 10.0.0.3 tcp dport 8080 return",
		"ip saddr 192.0.2.0/24 ip saddr != { 192.0.2.7/32 } tcp dport 8080 return",
	)
}

func TestEgressNamesThePortsOfTheOtherEnd(t *testing.T) {
	named := intstr.FromString("http")
	text := Render(state(policy(networkingv1.NetworkPolicySpec{
		PodSelector: *labelled("client"),
		Egress: []networkingv1.NetworkPolicyEgressRule{{
			To:    []networkingv1.NetworkPolicyPeer{{PodSelector: labelled("web")}},
			Ports: []networkingv1.NetworkPolicyPort{{Port: &named}},
		}},
	})))
	// without policyTypes a policy always speaks of ingress too
	expect(t, text, "chain out_10_0_0_1 {", "ip daddr 10.0.0.2 tcp dport 8080 return", "chain in_10_0_0_1 {")
}

func TestPodsWithoutAnAddressOfTheirOwnHaveNoRules(t *testing.T) {
	given := state(policy(networkingv1.NetworkPolicySpec{}))
	given.Pods[0].Spec.HostNetwork = true
	given.Pods[1].Status.Phase = corev1.PodSucceeded
	text := Render(given)
	refuse(t, text, "chain in_")
}

func TestEqualStatesGiveEqualTexts(t *testing.T) {
	one := state(policy(networkingv1.NetworkPolicySpec{}))
	other := state(policy(networkingv1.NetworkPolicySpec{}))
	other.Pods[0], other.Pods[1] = other.Pods[1], other.Pods[0]
	if Render(one) != Render(other) {
		t.Error("the order of the pods shows")
	}
}
