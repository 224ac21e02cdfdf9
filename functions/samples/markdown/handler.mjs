// Renders posted Markdown as HTML: headings, paragraphs, lists, quotes, code, emphasis, links.

const ESCAPES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const escape = (text) => text.replace(/[&<>"]/g, (character) => ESCAPES[character]);

function inline(text) {
  // Code first: nothing inside it is markup. Its place is kept by a character no text may hold.
  const codes = [];
  const kept = text.replaceAll('\0', '').replace(/`([^`]+)`/g, (_, code) => `\0${codes.push(code) - 1}\0`);
  return escape(kept)
    .replace(/\[([^\]]+)\]\((https?:\/\/[^\s)]+|[#/.][^\s)]*)\)/g, '<a href="$2">$1</a>')
    .replace(/\*\*([^*]+)\*\*/g, '<strong>$1</strong>')
    .replace(/\*([^*]+)\*/g, '<em>$1</em>')
    .replace(/\0(\d+)\0/g, (_, index) => `<code>${escape(codes[index])}</code>`);
}

const BLOCKS = [
  { start: /^(#{1,6}) +(.*?) *#*$/, one: (match) => `<h${match[1].length}>${inline(match[2])}</h${match[1].length}>` },
  { start: /^(?:-{3,}|\*{3,})$/, one: () => '<hr>' },
  { start: /^[-*+] +(.*)$/, many: (items) => `<ul>\n${items.map((m) => `<li>${inline(m[1])}</li>`).join('\n')}\n</ul>` },
  { start: /^\d+[.)] +(.*)$/, many: (items) => `<ol>\n${items.map((m) => `<li>${inline(m[1])}</li>`).join('\n')}\n</ol>` },
  { start: /^> ?(.*)$/, many: (lines) => `<blockquote>\n${render(lines.map((m) => m[1]))}\n</blockquote>` },
];

function render(lines) {
  const html = [];
  let paragraph = [];
  const endParagraph = () => {
    if (paragraph.length > 0) html.push(`<p>${inline(paragraph.join('\n'))}</p>`);
    paragraph = [];
  };
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at].trimEnd();
    const fence = /^```(\w*)$/.exec(line);
    const block = BLOCKS.find(({ start }) => start.test(line));
    if (fence) {
      endParagraph();
      const end = lines.indexOf('```', at + 1);
      const code = lines.slice(at + 1, end < 0 ? lines.length : end);
      html.push(`<pre><code${fence[1] && ` class="language-${fence[1]}"`}>${escape(code.join('\n'))}</code></pre>`);
      at = end < 0 ? lines.length : end;
    } else if (block?.one) {
      endParagraph();
      html.push(block.one(block.start.exec(line)));
    } else if (block) {
      endParagraph();
      const matches = [];
      while (at < lines.length && block.start.test(lines[at].trimEnd())) matches.push(block.start.exec(lines[at++].trimEnd()));
      html.push(block.many(matches));
      at -= 1;
    } else if (line === '') {
      endParagraph();
    } else {
      paragraph.push(line);
    }
  }
  endParagraph();
  return html.join('\n');
}

export function handle(event, context) {
  if (event.method !== 'POST') return context.response(405, { Allow: 'POST' }, { error: 'post the Markdown' });
  let text;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(event.body);
  } catch {
    return context.response(400, {}, { error: 'the body is not UTF-8' });
  }
  const html = render(text.split(/\r?\n/));
  console.log(`rendered ${text.length} characters`);
  return context.response(200, { 'Content-Type': 'text/html; charset=utf-8' }, html === '' ? '' : `${html}\n`);
}
