// A CNI plugin, chained after ptp: it gives a pod its IPv6 address. ptp can, but waits each time until nobody has
// objected to the address, which takes more than a second; here nobody else can have it. The address ends in what the
// IPv4 address ends in, so that nothing has to be remembered or given back.
package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
)

// The gateway's address is the same on every cable: it means the other end.
const gateway = "fe80::1"

type networkInterface struct {
	Name    string `json:"name"`
	Mac     string `json:"mac,omitempty"`
	Sandbox string `json:"sandbox,omitempty"`
}

type address struct {
	Interface *int   `json:"interface,omitempty"`
	Address   string `json:"address"`
	Gateway   string `json:"gateway,omitempty"`
}

type result struct {
	Version    string             `json:"cniVersion"`
	Interfaces []networkInterface `json:"interfaces"`
	IPs        []address          `json:"ips"`
	Routes     []map[string]any   `json:"routes,omitempty"`
	DNS        map[string]any     `json:"dns,omitempty"`
}

type configuration struct {
	Subnet   string  `json:"subnet"`
	Previous *result `json:"prevResult"`
}

func check(err error) {
	if err != nil {
		json.NewEncoder(os.Stdout).Encode(map[string]any{"cniVersion": "1.0.0", "code": 100, "msg": err.Error()})
		os.Exit(1)
	}
}

func ip(lines string, prefix ...string) {
	words := append(prefix, "ip", "-6", "-batch", "-")
	command := exec.Command(words[0], words[1:]...)
	command.Stdin = strings.NewReader(lines)
	if output, err := command.CombinedOutput(); err != nil {
		check(fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, output))
	}
}

// cable finds the pod's interface (by its index) and the name of the other end.
func cable(previous *result) (int, string) {
	inner, outer := -1, ""
	for index, each := range previous.Interfaces {
		if each.Sandbox != "" {
			inner = index
		} else {
			outer = each.Name
		}
	}
	return inner, outer
}

// sibling is the subnet's address with the last byte of the IPv4 address.
func sibling(subnet, four string) netip.Addr {
	base, err := netip.ParsePrefix(subnet)
	check(err)
	prefix, err := netip.ParsePrefix(four)
	check(err)
	bytes, short := base.Addr().As16(), prefix.Addr().As4()
	bytes[15] = short[3]
	return netip.AddrFrom16(bytes)
}

func add() {
	var config configuration
	check(json.NewDecoder(os.Stdin).Decode(&config))
	if config.Previous == nil || len(config.Previous.IPs) == 0 {
		check(fmt.Errorf("no result of an earlier plugin"))
	}
	inner, outer := cable(config.Previous)
	six := sibling(config.Subnet, config.Previous.IPs[0].Address)
	name := config.Previous.Interfaces[inner].Name
	ip(fmt.Sprintf("address add %s/64 dev %s nodad\nroute add %s/128 dev %s", gateway, outer, six, outer))
	ip(fmt.Sprintf("address add %s/128 dev %s nodad\nroute add default via %s dev %s", six, name, gateway, name),
		"nsenter", "--net="+os.Getenv("CNI_NETNS"))
	added := address{Interface: &inner, Address: six.String() + "/128", Gateway: gateway}
	config.Previous.IPs = append(config.Previous.IPs, added)
	check(json.NewEncoder(os.Stdout).Encode(config.Previous))
}

func main() {
	switch os.Getenv("CNI_COMMAND") {
	case "ADD":
		add()
	case "VERSION":
		fmt.Println(`{"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0"]}`)
	} // DEL and CHECK: what was added is a property of the cable and ends with it
}
