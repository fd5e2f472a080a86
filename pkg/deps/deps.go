package deps

import (
	_ "github.com/google/uuid"
	_ "github.com/micro/micro/v3/client/cli"
	_ "github.com/micro/micro/v3/cmd/server"
	_ "github.com/micro/micro/v3/cmd/service"
	_ "github.com/micro/micro/v3/service/model/sql"
	_ "github.com/pressly/goose/v3"
	_ "github.com/stretchr/testify/require"
	_ "golang.org/x/net/idna"
	_ "golang.org/x/sys/unix"
	_ "gopkg.in/natefinch/lumberjack.v2"
	_ "gorm.io/driver/postgres"
	_ "pgregory.net/rapid"
)
