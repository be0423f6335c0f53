// Hyperkube is every component of the local cluster in one static binary. The component is the name it is called by
// (a symbolic link), or else its first argument.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	_ "time/tzdata"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
	metrics "sigs.k8s.io/metrics-server/cmd/metrics-server/app"

	"modelyard.dev/local/netpol"
	"modelyard.dev/local/volumes"
)

func execute(command *cobra.Command) { os.Exit(cli.Run(command)) }

func runKubectl() {
	logs.GlogSetter(kubectl.GetLogVerbosity(os.Args)) //nolint:errcheck // the default level is fine
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err)
	}
}

var components = map[string]func(){
	"etcd":                    func() { etcdmain.Main(os.Args) },
	"kube-apiserver":          func() { execute(apiserver.NewAPIServerCommand()) },
	"kube-controller-manager": func() { execute(controllers.NewControllerManagerCommand()) },
	"kube-proxy":              func() { execute(proxy.NewProxyCommand()) },
	"kube-scheduler":          func() { execute(scheduler.NewSchedulerCommand()) },
	"kubectl":                 runKubectl,
	"kubelet":                 func() { execute(kubelet.NewKubeletCommand(context.Background())) },
	"metrics-server":          func() { execute(metrics.NewMetricsServerCommand(genericapiserver.SetupSignalHandler())) },
	"netpol":                  netpol.Main,
	"volumes":                 volumes.Main,
}

func usage() {
	names := make([]string, 0, len(components))
	for name := range components {
		names = append(names, name)
	}
	slices.Sort(names)
	fmt.Fprintf(os.Stderr, "usage: hyperkube COMPONENT [flags]\ncomponents: %v\n", names)
	os.Exit(2)
}

func main() {
	name := filepath.Base(os.Args[0])
	if components[name] == nil {
		if len(os.Args) < 2 || components[os.Args[1]] == nil {
			usage()
		}
		name, os.Args = os.Args[1], os.Args[1:]
	}
	components[name]()
}
