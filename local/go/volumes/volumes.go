// Package volumes provides the default StorageClass of the local cluster: for every claim a folder of the node that
// any user may write to, because pods do not run as root.
package volumes

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// Class is the StorageClass that is served, and Provisioner the name it gives.
const (
	Class       = "standard"
	Provisioner = "modelyard.dev/local-folder"
)

// VolumeFor returns the volume for a claim: named after the claim's UID, so that it is made once.
func VolumeFor(claim *corev1.PersistentVolumeClaim, root string) *corev1.PersistentVolume {
	name := "pvc-" + string(claim.UID)
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": Provisioner}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage]},
			AccessModes:                   claim.Spec.AccessModes,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			StorageClassName:              Class,
			ClaimRef: &corev1.ObjectReference{
				Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				HostPath: &corev1.HostPathVolumeSource{Path: filepath.Join(root, name)},
			},
		},
	}
}

// Wanted says whether a claim waits for a volume of ours.
func Wanted(claim *corev1.PersistentVolumeClaim) bool {
	return claim.Status.Phase != corev1.ClaimBound && claim.Spec.VolumeName == "" && claim.DeletionTimestamp == nil &&
		claim.Spec.StorageClassName != nil && *claim.Spec.StorageClassName == Class
}

// Released says whether a volume of ours has lost its claim.
func Released(volume *corev1.PersistentVolume) bool {
	return volume.Status.Phase == corev1.VolumeReleased && volume.DeletionTimestamp == nil &&
		volume.Annotations["pv.kubernetes.io/provisioned-by"] == Provisioner
}

type provisioner struct {
	client kubernetes.Interface
	root   string
}

func (p *provisioner) provide(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	volume := VolumeFor(claim, p.root)
	folder := volume.Spec.HostPath.Path
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	if err := os.Chmod(folder, 0o777); err != nil { // MkdirAll obeys the umask
		return err
	}
	_, err := p.client.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{})
	if errors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (p *provisioner) remove(ctx context.Context, volume *corev1.PersistentVolume) error {
	if err := os.RemoveAll(filepath.Join(p.root, volume.Name)); err != nil {
		return err
	}
	err := p.client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, metav1.DeleteOptions{})
	if errors.IsNotFound(err) {
		return nil
	}
	return err
}

// pass looks at every claim and volume; it is level-triggered, so a missed event costs one period at most.
func (p *provisioner) pass(ctx context.Context, factory informers.SharedInformerFactory) {
	for _, item := range factory.Core().V1().PersistentVolumeClaims().Informer().GetStore().List() {
		if claim := item.(*corev1.PersistentVolumeClaim); Wanted(claim) {
			report("provide", claim.Namespace+"/"+claim.Name, p.provide(ctx, claim))
		}
	}
	for _, item := range factory.Core().V1().PersistentVolumes().Informer().GetStore().List() {
		if volume := item.(*corev1.PersistentVolume); Released(volume) {
			report("remove", volume.Name, p.remove(ctx, volume))
		}
	}
}

func report(what, name string, err error) {
	fmt.Printf("%s %s %s error=%v\n", time.Now().Format(time.RFC3339), what, name, err)
}

// Main runs the provisioner until the process ends.
func Main() {
	flags := flag.NewFlagSet("volumes", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "path of a kubeconfig")
	root := flags.String("root", "", "folder that holds the volumes")
	flags.Parse(os.Args[1:]) //nolint:errcheck // ExitOnError
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil || *root == "" {
		fmt.Fprintln(os.Stderr, "volumes needs --kubeconfig and --root:", err)
		os.Exit(2)
	}
	ctx := context.Background()
	client := kubernetes.NewForConfigOrDie(config)
	factory := informers.NewSharedInformerFactory(client, 0)
	changed := make(chan struct{}, 1)
	mark := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { mark() },
		UpdateFunc: func(_, _ any) { mark() },
	}
	factory.Core().V1().PersistentVolumeClaims().Informer().AddEventHandler(handler) //nolint:errcheck // not stopped yet
	factory.Core().V1().PersistentVolumes().Informer().AddEventHandler(handler)      //nolint:errcheck // not stopped yet
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	worker := &provisioner{client: client, root: *root}
	again := time.NewTicker(10 * time.Second)
	for {
		worker.pass(ctx, factory)
		select {
		case <-changed:
		case <-again.C:
		}
	}
}
