import { Injectable } from '@nestjs/common';
import { pool } from '../database.js';

export interface User {
  id: string;
  email: string;
  display_name: string;
}

@Injectable()
export class UsersService {
  async findById(id: string): Promise<User | undefined> {
    const { rows } = await pool.query<User>('SELECT id, email, display_name FROM users WHERE id = $1', [id]);
    return rows[0];
  }

  async findByCredentials(email: string, password: string): Promise<User | undefined> {
    const { rows } = await pool.query<User & { password: string }>(
      'SELECT id, email, display_name, password FROM users WHERE email = $1',
      [email],
    );
    return rows.find((user) => user.password === password);
  }
}
