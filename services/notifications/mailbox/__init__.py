"""The local mailbox: stands in for the mail relay and the SMS gateway, keeps what comes, shows it on a web page.

It behaves like the real ones, errors and delays included. A sender `…@blocked.example` is refused with 550 at MAIL.
What a recipient provokes:

| recipient              | what happens |
|------------------------|--------------|
| `…@bounce.example`     | 550 at RCPT: no such mailbox |
| `…@spam.example`       | 554 after DATA: refused for its content |
| `…@busy.example`       | 451 to the first two tries of each message, then it is taken |
| `…@down.example`       | 451, always |
| `…@drop.example`       | the connection is cut in the middle of the first two tries of each message |
| `slow@…`               | the answer takes MAILBOX_SLOW_S |
| phone ending in `9001` | HTTP 400: not a number that can get SMS |
| phone ending in `9002` | HTTP 503 to the first two tries of each message |
| phone ending in `9003` | HTTP 429 to the first two tries of each message |
| phone ending in `9004` | the answer takes MAILBOX_SLOW_S |

A message that comes again (same Message-ID or Idempotency-Key, same recipient) is not delivered twice, but counted.
"""
