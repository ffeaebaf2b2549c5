INSERT INTO users (email, display_name, password)
SELECT 'user' || n || '@example.com', 'User ' || n, 'benchmark-password'
FROM generate_series(0, $1 - 1) AS n
WHERE NOT EXISTS (SELECT FROM users WHERE email = 'user' || n || '@example.com')
ORDER BY n
