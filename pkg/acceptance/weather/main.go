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
func (Weather) Now(_ context.Context, req *pb.NowRequest, rsp *pb.NowResponse) error {
	const longest = 100
	if n := utf8.RuneCountInString(req.Place); n == 0 || n > longest {
		return errors.Invalid("place", "must have 1 to %d characters", longest)
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(req.Place)) // it never fails
	rsp.Place, rsp.Temperature = req.Place, int32(h.Sum32()%60)-20
	return nil
}

// Sample implements pb.WeatherHandler.
func (w Weather) Sample(ctx context.Context, req *pb.NowRequest, rsp *pb.NowResponse) error {
	return w.Now(ctx, req, rsp)
}

func main() {
	srv := service.New("weather")
	srv.Must(pb.RegisterWeatherHandler(srv.Server(), Weather{}))
	srv.Must(srv.Run())
}
