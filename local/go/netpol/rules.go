package netpol

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// State is what the rules are made from.
type State struct {
	Pods       []*corev1.Pod
	Namespaces []*corev1.Namespace
	Policies   []*networkingv1.NetworkPolicy
}

// direction is one side of a policy: which address of a packet is the other end's, and what its chains are called.
type direction struct {
	kind      networkingv1.PolicyType
	chain     string
	own, peer string
}

var (
	ingress = direction{networkingv1.PolicyTypeIngress, "in", "daddr", "saddr"}
	egress  = direction{networkingv1.PolicyTypeEgress, "out", "saddr", "daddr"}
)

// rule is one side of a policy's rule, the same for both directions.
type rule struct {
	peers []networkingv1.NetworkPolicyPeer
	ports []networkingv1.NetworkPolicyPort
}

// match is a condition on the other end; pod is set when the other end is a pod, whose named ports are then known.
type match struct {
	condition string
	pod       *corev1.Pod
}

// Render returns one nftables transaction that replaces the whole table. The same state gives the same text.
func Render(state State) string {
	state = ordered(state)
	var chains, toPods, fromPods []string
	for _, pod := range state.Pods {
		for _, d := range []direction{ingress, egress} {
			body, isolated := chainBody(state, pod, d)
			if !isolated {
				continue
			}
			name := d.chain + "_" + strings.ReplaceAll(pod.Status.PodIP, ".", "_")
			chains = append(chains, "chain "+name+" {\n  "+strings.Join(body, "\n  ")+"\n}\n")
			jump := pod.Status.PodIP + " : jump " + name
			if d == ingress {
				toPods = append(toPods, jump)
			} else {
				fromPods = append(fromPods, jump)
			}
		}
	}
	established := "  ct state established,related accept\n"
	forward := "chain forward {\n  type filter hook forward priority 10; policy accept;\n" + established +
		verdictMap(egress.own, fromPods) + verdictMap(ingress.own, toPods) + "}\n"
	// what a pod sends to the node's own addresses is not forwarded
	input := "chain input {\n  type filter hook input priority 10; policy accept;\n" + established +
		verdictMap(egress.own, fromPods) + "}\n"
	return "add table ip netpol\ndelete table ip netpol\ntable ip netpol {\n" + strings.Join(chains, "") + forward + input + "}\n"
}

func verdictMap(side string, jumps []string) string {
	if len(jumps) == 0 {
		return ""
	}
	return "  ip " + side + " vmap { " + strings.Join(jumps, ", ") + " }\n"
}

// ordered keeps the pods that have an address of their own and sorts everything, so that equal states render equally.
func ordered(state State) State {
	pods := slices.DeleteFunc(slices.Clone(state.Pods), func(pod *corev1.Pod) bool {
		ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
		return pod.Spec.HostNetwork || pod.Status.PodIP == "" || ended
	})
	slices.SortFunc(pods, func(a, b *corev1.Pod) int { return strings.Compare(a.Status.PodIP, b.Status.PodIP) })
	policies := slices.Clone(state.Policies)
	slices.SortFunc(policies, func(a, b *networkingv1.NetworkPolicy) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	return State{Pods: pods, Namespaces: state.Namespaces, Policies: policies}
}

// chainBody returns the rules for one pod and direction, and whether any policy isolates it.
func chainBody(state State, pod *corev1.Pod, d direction) ([]string, bool) {
	// a pod always reaches itself
	body, isolated := []string{"ip " + d.peer + " " + pod.Status.PodIP + " return"}, false
	for _, policy := range state.Policies {
		if policy.Namespace != pod.Namespace || !selects(&policy.Spec.PodSelector, pod.Labels) || !covers(policy, d) {
			continue
		}
		isolated = true
		for _, rule := range rulesOf(policy, d) {
			body = append(body, ruleLines(state, pod, policy.Namespace, rule, d)...)
		}
	}
	return append(body, "counter drop"), isolated
}

// covers says whether a policy speaks of a direction; without policyTypes it speaks of egress only if it has rules.
func covers(policy *networkingv1.NetworkPolicy, d direction) bool {
	if len(policy.Spec.PolicyTypes) == 0 {
		return d == ingress || len(policy.Spec.Egress) > 0
	}
	return slices.Contains(policy.Spec.PolicyTypes, d.kind)
}

func rulesOf(policy *networkingv1.NetworkPolicy, d direction) []rule {
	var rules []rule
	if d == ingress {
		for _, r := range policy.Spec.Ingress {
			rules = append(rules, rule{r.From, r.Ports})
		}
		return rules
	}
	for _, r := range policy.Spec.Egress {
		rules = append(rules, rule{r.To, r.Ports})
	}
	return rules
}

func ruleLines(state State, pod *corev1.Pod, namespace string, rule rule, d direction) []string {
	var lines []string
	for _, other := range peerMatches(state, namespace, rule.peers, d.peer) {
		target := pod // the pod that listens
		if d == egress {
			target = other.pod
		}
		for _, port := range portMatches(target, rule.ports) {
			words := slices.DeleteFunc([]string{other.condition, port, "return"}, func(w string) bool { return w == "" })
			lines = append(lines, strings.Join(words, " "))
		}
	}
	return lines
}

// peerMatches returns a condition for each allowed other end; no peers means everyone.
func peerMatches(state State, namespace string, peers []networkingv1.NetworkPolicyPeer, side string) []match {
	if len(peers) == 0 {
		return []match{{}}
	}
	var matches []match
	for _, peer := range peers {
		if peer.IPBlock != nil {
			matches = append(matches, blockMatch(peer.IPBlock, side)...)
			continue
		}
		for _, pod := range state.Pods {
			if peerSelects(state, namespace, peer, pod) {
				matches = append(matches, match{"ip " + side + " " + pod.Status.PodIP, pod})
			}
		}
	}
	return matches
}

func blockMatch(block *networkingv1.IPBlock, side string) []match {
	prefix, err := netip.ParsePrefix(block.CIDR)
	if err != nil || !prefix.Addr().Is4() {
		return nil
	}
	condition := "ip " + side + " " + block.CIDR
	if len(block.Except) > 0 {
		condition += " ip " + side + " != { " + strings.Join(block.Except, ", ") + " }"
	}
	return []match{{condition: condition}}
}

func peerSelects(state State, namespace string, peer networkingv1.NetworkPolicyPeer, pod *corev1.Pod) bool {
	if peer.NamespaceSelector == nil && pod.Namespace != namespace {
		return false
	}
	if peer.NamespaceSelector != nil && !selects(peer.NamespaceSelector, namespaceLabels(state, pod.Namespace)) {
		return false
	}
	return peer.PodSelector == nil || selects(peer.PodSelector, pod.Labels)
}

func namespaceLabels(state State, name string) map[string]string {
	for _, namespace := range state.Namespaces {
		if namespace.Name == name {
			return namespace.Labels
		}
	}
	return nil
}

// portMatches returns a condition for each allowed port; no ports means all of them.
func portMatches(target *corev1.Pod, ports []networkingv1.NetworkPolicyPort) []string {
	if len(ports) == 0 {
		return []string{""}
	}
	var matches []string
	for _, port := range ports {
		protocol := "tcp"
		if port.Protocol != nil {
			protocol = strings.ToLower(string(*port.Protocol))
		}
		switch {
		case port.Port == nil:
			matches = append(matches, "meta l4proto "+protocol)
		case port.Port.StrVal != "":
			matches = append(matches, namedPort(target, port.Port.StrVal, protocol)...)
		case port.EndPort != nil:
			matches = append(matches, fmt.Sprintf("%s dport %d-%d", protocol, port.Port.IntVal, *port.EndPort))
		default:
			matches = append(matches, fmt.Sprintf("%s dport %d", protocol, port.Port.IntVal))
		}
	}
	return matches
}

func namedPort(target *corev1.Pod, name, protocol string) []string {
	var matches []string
	if target == nil {
		return nil
	}
	for _, container := range target.Spec.Containers {
		for _, port := range container.Ports {
			if port.Name == name && strings.EqualFold(string(port.Protocol), protocol) {
				matches = append(matches, fmt.Sprintf("%s dport %d", protocol, port.ContainerPort))
			}
		}
	}
	return matches
}

func selects(selector *metav1.LabelSelector, set map[string]string) bool {
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && parsed.Matches(labels.Set(set))
}
