#!/usr/bin/env bash
# An eighth service in shell: writes an invoice for each payment into $INVOICES (the working directory without it).
#
#   export TIDINGS_URL=sqlite:market.db      # what the marketplace runs on
#   tidings consume events:payment --group invoices --type payment.completed --exec ./invoice.sh
#
# The envelope comes on stdin. Exit 0 is done, 75 is "again later", 65 rejects, anything else is a failed attempt. An
# event may come twice: the file's name makes the second one harmless.
set -euo pipefail
directory=${INVOICES:-.}
event=$(cat)
booking=$(jq -re '.data.bookingId | select(test("^[A-Za-z0-9_-]+$"))' <<<"$event") || exit 65
jq -r '"Invoice \(.data.paymentId)\nFor     \(.data.title)\nTo      \(.data.clientEmail)\nAmount  \(.data.amount / 100 | floor).\(.data.amount % 100 + 100 | tostring | .[1:]) EUR"' \
  <<<"$event" >"$directory/.$booking.$$"
mv "$directory/.$booking.$$" "$directory/$booking.txt"
