// Adds a button to each password field that shows or hides what was typed. When the form is sent, the field is a
// password field again, so that the browser does not remember its content as ordinary text.
const fields = document.querySelectorAll('input[type="password"]');
for (const field of fields) {
  const label = field.labels[0]?.textContent.trim() ?? '';
  const button = document.createElement('input');
  button.type = 'button';
  button.className = 'reveal';
  const show = (isVisible) => {
    field.type = isVisible ? 'text' : 'password';
    button.value = isVisible ? 'Hide password' : 'Show password';
    if (fields.length > 1) {
      button.setAttribute('aria-label', `${button.value} (${label})`);
    }
  };
  button.addEventListener('click', () => show(field.type === 'password'));
  field.form?.addEventListener('submit', () => show(false));
  field.after(button);
  show(false);
}
