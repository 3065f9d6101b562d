"""Write tickets.jsonl: invented tickets of a shop for smart-home devices, a few of them bad on purpose.

    python make_tickets.py [--seed N] > tickets.jsonl

The checked-in file is the output for the default seed. No person, order or card in it is real. `_bad` says
what is wrong with which row.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from dataclasses import asdict, dataclass, replace

TICKETS = 750
PRODUCTS = ["Halo Lamp", "Breeze Fan", "Orbit Speaker", "Pico Camera", "Hearth Thermostat", "Sprout Sensor"]
NAMES = [
    "Ana Souza",
    "Björn",
    "Chloé Martin",
    "Dmitri",
    "Emeka O.",
    "Fatima",
    "George",
    "Hana Kovářová",
    "İpek",
    "Joaquín",
    "Katie W",
    "Łukasz",
    "Mei",
    "Noor",
    "Oisín Byrne",
    "Pilar",
    "Raj",
    "Søren",
    "Tom Becker",
    "Ursula",
    "Vikram",
    "Wendy",
    "Xu",
    "Yusuf",
    "Zoë",
]
DAYS = [
    "Monday",
    "Tuesday",
    "last Thursday",
    "Friday",
    "the weekend",
    "yesterday",
    "the 3rd",
    "March 14",
    "12 May",
]

# fmt: off
# queue -> what people write about: ([subjects], [first sentences], [sentences that may follow])
QUEUES: dict[str, list[tuple[list[str], list[str], list[str]]]] = {
    "billing": [
        (["Charged twice", "Double charge for order {order}", "two payments on my card",
          "Why was I billed twice?"],
         ["My card was charged twice for order {order}.",
          "I see two identical payments of {amount} on my statement.",
          "You billed me twice for the {product}."],
         ["Please cancel the second charge.", "My bank says both payments went through.", ""]),
        (["Invoice needed", "VAT invoice for {order}", "Wrong name on invoice", "no invoice received"],
         ["I need an invoice with our VAT number for order {order}.",
          "The invoice for the {product} shows the wrong company name.",
          "Our accounting department is still missing the invoice for {order}."],
         ["A PDF would be enough.", "The tax office wants it by {day}.", ""]),
        (["Subscription price", "Cancel my subscription", "plus plan renewed",
          "Subscription renewed without asking"],
         ["The Plus subscription was renewed on {day} although I cancelled it.",
          "Why did my monthly subscription go up to {amount}?",
          "Please stop the subscription for the {product}, I do not want to pay for it any more."],
         ["I only ever agreed to the old price.", "Nobody told me about the renewal.", ""]),
        (["Payment failed", "card declined", "Payment does not go through", "Cannot pay by PayPal"],
         ["My payment for the {product} is declined every time.",
          "The checkout says 'payment failed' but my bank shows the amount of {amount}.",
          "I tried three cards and each payment was refused."],
         ["There is enough money on the card.", "Can I pay by bank transfer instead?", ""]),
        (["Discount missing", "voucher not applied", "Promo code not deducted", "Charged full price"],
         ["The voucher SPRING10 was not deducted from my bill.",
          "I was charged the full price of {amount} although I had a discount code.",
          "Your newsletter promised a discount, but the bill for order {order} shows none."],
         ["Please correct the bill.", "I would like the difference credited.", ""]),
    ],
    "shipping": [
        (["Where is my parcel?", "Parcel not here", "order {order} still not delivered", "Delivery late"],
         ["My parcel with the {product} should have been here on {day}.",
          "Order {order} has still not been delivered.", "I am waiting for a delivery since {day}."],
         ["Tracking has not moved for a week.", "The courier does not pick up the phone.", ""]),
        (["Tracking not updating", "tracking number invalid", "No tracking link", "Tracking says in transit"],
         ["The tracking number for {order} does not exist.", "Tracking shows 'in transit' since {day}.",
          "I never got a tracking link for the {product}."],
         ["Has it left your warehouse at all?", "Could you ask the carrier?", ""]),
        (["Change delivery address", "wrong address on {order}", "New address", "I moved, please redirect"],
         ["I moved and order {order} will be shipped to my old address.",
          "There is a typo in the delivery address of my order.",
          "Can the courier bring the {product} to my office address?"],
         ["The house number should be 18, not 81.", "It has not been dispatched yet, I hope.", ""]),
        (["Marked delivered but nothing here", "Parcel lost", "courier left it somewhere",
          "Delivered to nobody"],
         ["The courier says the parcel was handed over on {day}, but I was not home.",
          "Tracking says delivered, yet there is no package at my door.",
          "The parcel with the {product} seems to be lost by the carrier."],
         ["My neighbours have not seen it either.", "Please start an investigation with the courier.", ""]),
        (["Customs", "customs fee on delivery", "Parcel stuck at customs", "Ship to Norway?"],
         ["My parcel has been stuck at customs since {day}.",
          "The courier wants {amount} customs duty before delivery.",
          "Customs asks for a paper about the contents of parcel {order}."],
         ["What should I tell them?", "Nothing was said about that when it was dispatched.", ""]),
    ],
    "returns": [
        (["Return {product}", "Want to send it back", "How do I return an item?", "return label please"],
         ["I would like to return the {product}.", "Please send me a return label for order {order}.",
          "How can I send the {product} back to you?"],
         ["It is unused and in the original box.", "I am within the 30 days.", ""]),
        (["Arrived broken", "{product} damaged in the box", "Cracked on arrival",
          "Broken glass, replacement?"],
         ["The {product} arrived broken.", "When I opened the box the {product} was cracked.",
          "The housing is damaged and I want a replacement."],
         ["I can send photos.", "The box itself looked fine.", ""]),
        (["Wrong item", "Got the wrong colour", "you sent me something else", "Exchange please"],
         ["I ordered a {product} in white and got black, please exchange it.",
          "There was a different item in the box than the one I ordered.",
          "I received the wrong model and want to swap it."],
         ["The box has not been opened further.", "I need the right one before {day}.", ""]),
        (["Refund for returned item", "returned weeks ago", "Where is my refund?", "Refund status {order}"],
         ["I sent the {product} back on {day} and the refund has not come.",
          "You confirmed my return of order {order}, but not the refund.",
          "When will I see the refund for the item I returned?"],
         ["The return slip says you have it.", "The amount should be {amount}.", ""]),
        (["Warranty claim", "guarantee?", "Warranty for {product}", "Stopped after a year, warranty"],
         ["The {product} died after eleven months, so I want to use the warranty.",
          "Is a loose hinge covered by the guarantee?",
          "I would like to make a warranty claim for my {product}."],
         ["I still have the receipt.", "Do you repair it or replace it?", ""]),
    ],
    "account": [
        (["Cannot log in", "Login impossible", "locked out", "Log in fails since {day}"],
         ["I cannot log in since {day}.", "My login is refused although the username is right.",
          "I am locked out of my profile."],
         ["It says 'too many attempts'.", "I tried another browser as well.", ""]),
        (["Password reset mail missing", "forgot password", "Reset link expired", "password"],
         ["The password reset mail never arrives.", "I forgot my password and the reset link has expired.",
          "Every new password I choose is rejected."],
         ["My spam folder is empty.", "I have asked for it four times.", ""]),
        (["Change my email", "New email address", "update username", "Old email on my profile"],
         ["Please change the email address of my profile.",
          "I no longer have access to the email I registered with.",
          "My username has a spelling mistake, can you update it?"],
         ["I got married and have a new name.", "The settings page does not let me.", ""]),
        (["Delete my account", "GDPR request", "close my profile", "Remove my personal data"],
         ["Please delete my account and all personal data.", "I want to close my profile for good.",
          "Under the GDPR I ask for a copy of my personal data."],
         ["Please confirm in writing.", "I do not use it any more.", ""]),
        (["Two-factor code", "verification code never comes", "2FA lost phone", "New phone, no codes"],
         ["I have a new phone and lost my two-factor codes.", "The verification code by SMS never comes.",
          "Two-factor sign-in asks for a code that I cannot get."],
         ["I do have the backup email.", "Please switch two-factor off for me.", ""]),
    ],
    "technical": [
        (["App crashes", "{product} app closes itself", "App freezes on start", "crash after update"],
         ["The app crashes when I open the {product}.",
          "Since the update on {day} the app freezes on the start screen.",
          "The app closes by itself after a few seconds."],
         ["I reinstalled it twice.", "It is a Pixel with Android 15.", ""]),
        (["Won't connect to wifi", "WiFi pairing fails", "{product} offline", "no connection to router"],
         ["The {product} does not connect to my wifi.", "Pairing over Bluetooth stops at 80 %.",
          "The {product} is shown as offline although the router is next to it."],
         ["Other devices have no trouble.", "I already changed the channel of the router.", ""]),
        (["Firmware update stuck", "update error E42", "Firmware 2.1 problem", "Update never finishes"],
         ["The firmware update of the {product} is stuck at 12 %.", "Firmware 2.1 shows error E42.",
          "Since the new firmware the {product} restarts every hour."],
         ["Is there a way to go back to the old version?", "Unplugging did not help.", ""]),
        (["Battery drains", "battery empty after a day", "{product} battery", "Does not charge any more"],
         ["The battery of the {product} is empty after a few hours.",
          "The {product} does not charge any more.",
          "Since {day} the battery drops from 90 % to 10 % at once."],
         ["I use the original charger.", "The light blinks red.", ""]),
        (["Alexa integration", "{product} and HomeKit", "Voice control not working",
          "Automation does not trigger"],
         ["Alexa does not find the {product}.",
          "My automation with the {product} does not trigger at sunset.",
          "HomeKit shows 'no response' for the {product}."],
         ["It worked until the last firmware.", "I set up the scene again, no luck.", ""]),
    ],
    "sales": [
        (["Bulk order", "Quote for 40 units", "offer for our office", "Reseller prices"],
         ["We would like a quote for 40 pieces of the {product}.", "Do you have reseller prices?",
          "Our hotel wants to buy the {product} for every room, please make us an offer."],
         ["We would decide by {day}.", "Is there a contact person for companies?", ""]),
        (["Back in stock?", "{product} sold out", "When available", "stock of {product}"],
         ["When will the {product} be back in stock?", "The {product} is sold out, can I reserve one?",
          "Do you know when the blue version is available?"],
         ["I would take two.", "A rough date is fine.", ""]),
        (["Which model?", "Difference between models", "question before buying", "{product} or {other}?"],
         ["Which one would you recommend for a small flat, the {product} or the {other}?",
          "Before buying I want to know what the difference between the {product} and the {other} is.",
          "Does the {product} suit a house with three floors, before I buy one?"],
         ["I have no device of yours so far.", "The comparison on the site did not help.", ""]),
        (["Student discount?", "Education pricing", "Do you offer a price for schools",
          "black friday offer?"],
         ["Do you offer a student price?", "Is there an offer for schools that buy the {product}?",
          "Will the {product} be part of the Black Friday offers?"],
         ["I would buy it straight away.", "I am asking for my whole class.", ""]),
        (["Partnership", "Sell your products in our shop", "Become a reseller", "Demo for our team"],
         ["We run a shop in Porto and would like to sell the {product}.",
          "Can we book a demo of the {product} for our team?",
          "I am interested in a partnership with your company."],
         ["Who is the right person to talk to?", "We could meet on {day}.", ""]),
    ],
}
# fmt: on
GREETINGS = [
    "Hi,",
    "Hello,",
    "Hi there,",
    "Dear support team,",
    "Good morning,",
    "Hey 👋",
    "To whom it may concern,",
    "",
    "",
]
ASIDES = [
    "I have been a customer for three years.",
    "This is the second time I write.",
    "I really like your products otherwise.",
    "Sorry if this is the wrong form.",
    "I could not find the answer in your help pages.",
    "It is rather urgent.",
    "I am writing on behalf of my mother.",
    "",
    "",
    "",
    "",
]
CLOSINGS = [
    "Thanks, {name}",
    "Best regards\n{name}",
    "Cheers\n{name}",
    "Kind regards, {name}",
    "Many thanks in advance!\n{name}",
    "{name}",
    "Sent from my phone",
    "Grüße, {name}",
    "Merci – {name}",
    "",
]


@dataclass(frozen=True)
class Ticket:
    id: str
    subject: str | None
    body: str | None
    product: str | None
    queue: str | None


def main() -> None:
    parser = argparse.ArgumentParser(description="Write support tickets as JSON lines to standard output.")
    parser.add_argument("--seed", type=int, default=7)
    for ticket in tickets(parser.parse_args().seed):
        sys.stdout.write(json.dumps(asdict(ticket), ensure_ascii=False) + "\n")


def tickets(seed: int) -> list[Ticket]:
    """All rows in file order: good ones, with the bad ones strewn in."""
    rng = random.Random(seed)
    good: list[Ticket] = []
    written: set[str | None] = set()
    while len(good) < TICKETS:
        ticket = _ticket(rng, number=20417 + 3 * len(good))
        if ticket.body not in written:
            written.add(ticket.body)
            good.append(ticket)
    rows = list(good)
    for bad in _bad(good):
        rows.insert(rng.randrange(len(rows)), bad)
    return rows


def _ticket(rng: random.Random, number: int) -> Ticket:
    queue = rng.choice(list(QUEUES))
    subjects, openings, follow_ups = rng.choice(QUEUES[queue])
    product, other = rng.sample(PRODUCTS, 2)
    words = {
        "product": product,
        "other": other,
        "order": f"#{rng.randint(10000, 99999)}",
        "amount": rng.choice(["€", "$", "£"])
        + f"{rng.randint(9, 249)}.{rng.choice(['00', '50', '90', '99'])}",
        "day": rng.choice(DAYS),
        "name": rng.choice(NAMES),
    }
    sentences = [rng.choice(part) for part in (ASIDES, openings, follow_ups)]
    if rng.random() < 0.4:
        sentences[0], sentences[2] = sentences[2], sentences[0]
    text = " ".join(sentence for sentence in sentences if sentence)
    body = "\n".join(part for part in (rng.choice(GREETINGS), text, rng.choice(CLOSINGS)) if part)
    return Ticket(
        id=f"T-{number}",
        subject=_typed(rng, rng.choice(subjects).format(**words), prefixes=["Re: ", "Fwd: ", "URGENT: "]),
        body=_typed(rng, body.format(**words), prefixes=[]),
        product=product if rng.random() < 0.8 else None,
        queue=queue,
    )


def _typed(rng: random.Random, text: str, prefixes: list[str]) -> str:
    """The text as people type it: lower case, stray blanks, typographic marks, swapped letters."""
    chance = rng.random()
    if chance < 0.10:
        text = text.lower()
    elif chance < 0.13 and prefixes:
        text = text.upper()
    elif chance < 0.18:
        text = f"  {text} \n"
    elif chance < 0.22:
        text = text.replace(" ", "  ", 2)
    elif chance < 0.26:
        text = text.replace("'", "’").replace(". ", ".\u00a0").replace("...", "…")
    elif chance < 0.32 and len(text) > 12:
        at = rng.randrange(4, len(text) - 4)
        text = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    elif chance < 0.36:
        text = text.rstrip(".!?") + rng.choice(["!!", "???", " :(", " 🙏"])
    if prefixes and rng.random() < 0.08:
        text = rng.choice(prefixes) + text
    return text


def _bad(good: list[Ticket]) -> list[Ticket]:
    """What a real export has too, one row for each thing that a check should find."""
    return [
        replace(good[41], id="T-19002", queue=""),  # nothing to train on
        replace(good[133], id="T-19005", queue=None),  # the same, as a null
        replace(good[207], id="T-19009", body=""),  # a blank body: the subject alone is left
        replace(good[300], id="T-19011", body=None),
        replace(good[388], id="T-19014", subject=None),
        good[452],  # an exact copy
        replace(good[519], id="T-19020", queue=_another_queue(good[519])),  # the same text in two queues
        replace(
            good[610], id="T-19023", body=f"{good[610].body}\nMy card is 4111 1111 1111 1111, please check."
        ),
    ]


def _another_queue(ticket: Ticket) -> str:
    return next(queue for queue in QUEUES if queue != ticket.queue)


if __name__ == "__main__":
    main()
