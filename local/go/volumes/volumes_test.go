package volumes

import (
	"context"
	"os"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func claim(class string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "models", Namespace: "team", UID: "1-2"},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		},
	}
}

func TestOnlyUnboundClaimsOfTheClassAreWanted(t *testing.T) {
	bound := claim(Class)
	bound.Status.Phase = corev1.ClaimBound
	for name, check := range map[string]struct {
		claim  *corev1.PersistentVolumeClaim
		wanted bool
	}{"ours": {claim(Class), true}, "another class": {claim("fast"), false}, "bound": {bound, false}} {
		if Wanted(check.claim) != check.wanted {
			t.Errorf("%s: wanted %v", name, !check.wanted)
		}
	}
}

func TestAVolumeIsMadeOnceForAnyUserAndRemovedWithItsFolder(t *testing.T) {
	ctx, root, client := context.Background(), t.TempDir(), fake.NewClientset()
	p := &provisioner{client, root}
	for range 2 {
		if err := p.provide(ctx, claim(Class)); err != nil {
			t.Fatal(err)
		}
	}
	listed, _ := client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if len(listed.Items) != 1 {
		t.Fatalf("%d volumes", len(listed.Items))
	}
	volume := &listed.Items[0]
	details, err := os.Stat(volume.Spec.HostPath.Path)
	if err != nil || details.Mode().Perm() != 0o777 {
		t.Fatal(details, err)
	}
	volume.Status.Phase = corev1.VolumeReleased
	if !Released(volume) {
		t.Fatal("a released volume is not recognised")
	}
	for range 2 {
		if err := p.remove(ctx, volume); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(volume.Spec.HostPath.Path); !os.IsNotExist(err) {
		t.Fatal("the folder is still there")
	}
}
