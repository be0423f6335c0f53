// Package netpol enforces networking.k8s.io/v1 NetworkPolicies on the local cluster's one node with nftables.
// Every change of pods, namespaces or policies rewrites one table in one transaction.
package netpol

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// settle lets a burst of events become one transaction.
const settle = 20 * time.Millisecond

// Main runs until the process ends.
func Main() {
	flags := flag.NewFlagSet("netpol", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "path of a kubeconfig")
	flags.Parse(os.Args[1:]) //nolint:errcheck // ExitOnError
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		fmt.Fprintln(os.Stderr, "netpol needs --kubeconfig:", err)
		os.Exit(2)
	}
	factory := informers.NewSharedInformerFactory(kubernetes.NewForConfigOrDie(config), 0)
	changed := make(chan struct{}, 1)
	watch(factory, changed)
	enforce(factory, changed)
}

// mark asks for another look; one that is already asked for is enough.
func mark(changed chan struct{}) {
	select {
	case changed <- struct{}{}:
	default:
	}
}

// watch marks `changed` at every event and returns when the caches are filled.
func watch(factory informers.SharedInformerFactory, changed chan struct{}) {
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { mark(changed) },
		UpdateFunc: func(_, _ any) { mark(changed) },
		DeleteFunc: func(any) { mark(changed) },
	}
	for _, informer := range []cache.SharedIndexInformer{
		factory.Core().V1().Pods().Informer(),
		factory.Core().V1().Namespaces().Informer(),
		factory.Networking().V1().NetworkPolicies().Informer(),
	} {
		informer.AddEventHandler(handler) //nolint:errcheck // not stopped yet
	}
	forever := context.Background().Done()
	factory.Start(forever)
	factory.WaitForCacheSync(forever)
	mark(changed)
}

// enforce applies the rules whenever they differ from those that are in force; a refused transaction is tried again.
func enforce(factory informers.SharedInformerFactory, changed chan struct{}) {
	inForce := ""
	for range changed {
		rules := Render(read(factory))
		if rules == inForce {
			continue
		}
		if err := apply(rules); err != nil {
			fmt.Println("refused:", err)
			time.Sleep(time.Second)
			mark(changed)
			continue
		}
		inForce = rules
		fmt.Println(time.Now().Format(time.RFC3339), "rules in force:", strings.Count(rules, "chain ")-2, "isolated ends")
		time.Sleep(settle)
	}
}

func read(factory informers.SharedInformerFactory) State {
	// a lister over a filled cache has no errors to give
	pods, _ := factory.Core().V1().Pods().Lister().List(labels.Everything())
	namespaces, _ := factory.Core().V1().Namespaces().Lister().List(labels.Everything())
	policies, _ := factory.Networking().V1().NetworkPolicies().Lister().List(labels.Everything())
	return State{Pods: pods, Namespaces: namespaces, Policies: policies}
}

func apply(rules string) error {
	command := exec.Command("nft", "--file", "-")
	command.Stdin = strings.NewReader(rules)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s\n%s", err, output, rules)
	}
	return nil
}
