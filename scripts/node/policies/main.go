// Decides for a node which connections of its pods the NetworkPolicies allow: kube-network-policies, fed by the
// node's own rules. It would divert packets itself by nftables' `queue`, which not every kernel has, and which sees
// nothing of what pods send to their node; iptables' NFQUEUE does both.
//
//	policies KUBECONFIG NODE QUEUE SET
//
// It lets a packet of nobody it knows go, so the set is of the pods that it knows: whose packets belong to none of
// them, the node's rules drop.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/kube-network-policies/pkg/networkpolicy"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) != 4 {
		return errors.New("policies KUBECONFIG NODE QUEUE SET")
	}
	kubeconfig, node, set := arguments[0], arguments[1], arguments[3]
	queue, err := strconv.Atoi(arguments[2])
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	told, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	seen := informers.NewSharedInformerFactory(client, 0)
	controller, err := networkpolicy.NewController(
		client,
		seen.Networking().V1().NetworkPolicies(),
		seen.Core().V1().Namespaces(),
		seen.Core().V1().Pods(),
		nil, nil, nil, nil,
		networkpolicy.Config{NodeName: node, QueueID: queue, NFTableName: "axo-policies"},
	)
	if err != nil {
		return err
	}
	if err := keep(set, seen.Core().V1().Pods().Informer()); err != nil {
		return err
	}
	defer netlink.IpsetDestroy(set)
	seen.Start(told.Done())
	return controller.Run(told)
}

// keep holds in a set the addresses of all pods that run.
func keep(set string, pods cache.SharedInformer) error {
	if err := netlink.IpsetCreate(set, "hash:ip", netlink.IpsetCreateOptions{Replace: true}); err != nil {
		return fmt.Errorf("the kernel keeps no set of addresses: %w", err)
	}
	_, err := pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(pod any) { note(set, pod, true) },
		UpdateFunc: func(_, pod any) { note(set, pod, true) },
		DeleteFunc: func(pod any) { note(set, pod, false) },
	})
	return err
}

func note(set string, what any, there bool) {
	if last, missed := what.(cache.DeletedFinalStateUnknown); missed {
		what = last.Obj
	}
	pod, known := what.(*corev1.Pod)
	if !known {
		return
	}
	change := netlink.IpsetDel
	if there && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed {
		change = netlink.IpsetAdd
	}
	for _, address := range pod.Status.PodIPs {
		entry := &netlink.IPSetEntry{IP: net.ParseIP(address.IP).To4(), Replace: true}
		if err := change(set, entry); err != nil {
			fmt.Fprintf(os.Stderr, "%s in %s: %v\n", address.IP, set, err)
		}
	}
}
