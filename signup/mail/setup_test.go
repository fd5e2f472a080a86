package mail_test

import (
	"time"

	"github.com/m3o/backend/signup/service"
)

// hello is a mail, with everything in it that a header or a body may have.
var hello = service.Mail{
	ID: "01890a5d-ac96-774b-bcce-b302099a8057", To: "o'hara+tag=1@example.com", Subject: "Grüße, & more",
	Text: "Grüße.\n\nA long line, which is longer than a line of a mail may be, and therefore has to be broken somewhere in it.\n",
	HTML: "<p>Grüße.</p>\n", Date: time.Date(2030, 5, 17, 14, 0, 0, 0, time.FixedZone("east", 7200)),
}

const from = "Micro & Söhne <noreply@mail.example.com>"
