// Reads messages and calendars as JSON from stdin and says what it found: the second opinion of the tests.
import ICAL from "ical.js";
import PostalMime from "postal-mime";

const { messages, calendars } = JSON.parse(await new Response(process.stdin).text());

async function readMessage(base64) {
  const mail = await PostalMime.parse(Buffer.from(base64, "base64"));
  return {
    headers: mail.headers.map((header) => header.key),
    from: mail.from,
    to: mail.to,
    cc: mail.cc ?? [],
    bcc: mail.bcc ?? [],
    subject: mail.subject,
    text: mail.text,
    html: mail.html,
    files: mail.attachments.map((file) => ({ name: file.filename, type: file.mimeType, method: file.method ?? null })),
  };
}

function readCalendar(text) {
  const calendar = new ICAL.Component(ICAL.parse(text));
  const [event, ...more] = calendar.getAllSubcomponents("vevent");
  const people = [...event.getAllProperties("attendee"), ...event.getAllProperties("organizer")];
  return {
    events: 1 + more.length,
    components: calendar.getAllSubcomponents().map((one) => one.name),
    properties: event.getAllProperties().map((one) => one.name),
    summary: event.getFirstPropertyValue("summary"),
    description: event.getFirstPropertyValue("description"),
    people: people.map((one) => [one.getParameter("cn"), one.getFirstValue()]),
  };
}

process.stdout.write(JSON.stringify({
  messages: await Promise.all(messages.map(readMessage)),
  calendars: calendars.map(readCalendar),
}));
