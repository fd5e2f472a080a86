package process

import (
	"flag"
	"os"

	"github.com/micro/micro/v3/service/registry"

	"github.com/m3o/backend/pkg/bench"
	"github.com/m3o/backend/pkg/platform/etcd"
	"github.com/m3o/backend/pkg/platform/profile"
)

// ProfileEnv names the profile whose engines are measured; empty is what the benchmark is made for.
const ProfileEnv = "BENCH_PROFILE"

// NewReport returns the report of a benchmark whose processes can work with the engines of another profile, which is asked for
// with the flag -profile: a group of its own, without bars.
func NewReport(group string) (*bench.Report, error) {
	name := flag.String("profile", "", "measure with the engines of this profile: "+profile.Platform)
	flag.Parse()
	if *name == "" {
		return bench.NewReport(os.Stdout, group), nil
	}
	if err := os.Setenv(ProfileEnv, *name); err != nil {
		return nil, err
	}
	return bench.NewReport(os.Stdout, group+"-on-"+*name).WithoutBars(), nil
}

// UseRegistry makes a child find others in the registry of the profile that is measured. It comes after service.New.
func UseRegistry() error {
	if os.Getenv(ProfileEnv) != profile.Platform {
		return nil
	}
	config, err := etcd.ReadConfig()
	if err != nil {
		return err
	}
	registry.DefaultRegistry, err = etcd.Open(config)
	return err
}
