// Weather is a service that is sold: as small as one can be, and without anything of the platform that only a trusted one may
// have. It makes its weather up.
package main

import (
	"context"
	"hash/fnv"
	"unicode/utf8"

	pb "github.com/m3o/backend/pkg/acceptance/weather/proto"
	"github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/service"
)

// Weather handles the RPCs of the proto service of that name.
type Weather struct{}

// Now implements pb.WeatherHandler.
func (Weather) Now(_ context.Context, req *pb.NowRequest, rsp *pb.NowResponse) (err error) {
	rsp.Place = req.Place
	rsp.Temperature, err = temperature(req.Place)
	return err
}

// Sample implements pb.WeatherHandler.
func (Weather) Sample(_ context.Context, req *pb.SampleRequest, rsp *pb.SampleResponse) (err error) {
	rsp.Place = req.Place
	rsp.Temperature, err = temperature(req.Place)
	return err
}

func temperature(place string) (int32, error) {
	const longest = 100
	if n := utf8.RuneCountInString(place); n == 0 || n > longest {
		return 0, errors.Invalid("place", "must have 1 to %d characters", longest)
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(place)) // it never fails
	return int32(h.Sum32()%60) - 20, nil
}

func main() {
	srv := service.New("weather")
	srv.Must(pb.RegisterWeatherHandler(srv.Server(), Weather{}))
	srv.Must(srv.Run())
}
